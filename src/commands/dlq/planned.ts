import type { ConsumerLetter } from '../../app/consumer-letters.ts'
import type { StoredLetter } from '../../control/dead-letters.ts'
import type { Output } from '../output.ts'
import { allLettersText } from './consumer-text.ts'
import { lettersText } from './dual-write-text.ts'

/** A dry run: the letters that are meant, and what would be done. */
export function planned(
  output: Output,
  letters: readonly StoredLetter[] | readonly ConsumerLetter[],
  text: string,
): void {
  const data = { letters: letters.map(({ id }) => id) }
  output.result({ schema: 'migrate.dlq-plan/1', status: 'ok', data }, (ansi) => {
    const legs = letters.filter((letter) => letter.kind === 'dual-write')
    return `${legs.length > 0 ? lettersText(legs, ansi) : allLettersText(letters, ansi)}\n${text}`
  })
}
