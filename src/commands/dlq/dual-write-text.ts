import type { StoredLetter } from '../../control/dead-letters.ts'
import { type Colors, keyValues, plain, table } from '../../ui/text.ts'
import { age } from '../reconcile-text.ts'

/** Letters as a table. */
export function lettersText(letters: readonly StoredLetter[], ansi: Colors): string {
  if (letters.length === 0) return 'no dead letters'
  const columns = ['id', 'service', 'state', 'error', 'request', 'monolith', 'service', 'tries', 'age']
  const rows = letters.map((letter) => [
    letter.id,
    letter.service,
    letter.state,
    letter.code,
    `${letter.method} ${plain(letter.path)}`,
    String(letter.monolithStatus),
    answered(letter),
    String(letter.attempts),
    age(letter.age),
  ])
  return table(
    columns.map((title) => ({ title })),
    rows,
    ansi,
  )
}

/** One letter; `body` null = not wanted. */
export function letterText(letter: StoredLetter, body: string | null, ansi: Colors): string {
  const closed: [string, string][] =
    letter.state === 'open' ? [] : [[letter.state, `by ${letter.resolvedBy ?? '?'} at ${letter.resolvedAt ?? '?'}`]]
  const pairs: [string, string][] = [
    ['letter', `${letter.id} (${letter.kind}), ${letter.state}`],
    ['service', letter.service],
    ['request', `${letter.method} ${plain(letter.path)} (route ${letter.route}, ${letter.bodyBytes} bytes)`],
    ['ordered by', plain(letter.entity ?? 'nothing')],
    ['error', `${letter.code}${letter.error === null ? '' : `: ${letter.error}`}`],
    ['monolith', `answered ${letter.monolithStatus}`],
    ['service', answered(letter) === '-' ? 'did not answer' : `answered ${answered(letter)}`],
    ['tries', String(letter.attempts)],
    ['epoch', String(letter.epoch)],
    ['position', letter.sourceLsn ?? 'unknown'],
    ['since', letter.createdAt],
    ...closed,
  ]
  return [keyValues(pairs, ansi), ...(body === null ? [] : ['', plain(body)])].join('\n')
}

function answered({ serviceStatus }: StoredLetter): string {
  return serviceStatus === null ? '-' : String(serviceStatus)
}
