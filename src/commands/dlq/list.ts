import type { ListedLetters } from '../../app/all-letters.ts'
import type { StoredLetter } from '../../control/dead-letters.ts'
import { failureText } from '../../ui/text.ts'
import { type CommandContext, defineCommand } from '../command.ts'
import { issueOf } from '../failure.ts'
import type { NextStep } from '../output.ts'
import { type LetterOptions, NO_SYNC_LETTERS, open, readKind } from './choice.ts'
import { allLettersText, keysText } from './consumer-text.ts'
import { lettersText } from './dual-write-text.ts'

export const list = defineCommand<LetterOptions & { all?: true }>({
  name: 'list',
  summary: 'List the dead letters that nobody has settled, and keys of consumers that wait',
  examples: ['migrate dlq list', 'migrate dlq list --service users --all', 'migrate dlq list --kind consumer --json'],
  configure: (command) =>
    command
      .option('--kind <kind>', 'only sync, dual-write (second legs) or consumer (messages)')
      .option('--service <name>', 'only those of this service')
      .option('--all', 'also those that are resolved or discarded'),
  async run(context, _, { all, ...options }) {
    const kind = readKind(options.kind, 'dlq list')
    const { listAllLetters } = await import('../../app/all-letters.ts')
    await using app = await open(context)
    const listed = await listAllLetters(app, { kind, service: options.service ?? null, settled: all === true })
    if (kind === 'sync') return nothing(context)
    report(context, listed, kind === 'dual-write')
  },
})

function nothing({ output }: CommandContext): void {
  const data = { letters: [], parkedKeys: [], note: NO_SYNC_LETTERS }
  const nextSteps = [{ cmd: 'migrate status', why: 'see how each sync does' }]
  output.result({ schema: 'migrate.dlq/1', status: 'ok', data, nextSteps }, () => `no dead letters: ${NO_SYNC_LETTERS}`)
}

/** What could not be asked is said, and decides the exit code. */
function report({ output }: CommandContext, { failures, ...data }: ListedLetters, legsOnly: boolean): void {
  const { letters, parkedKeys } = data
  output.result(
    {
      ...{ schema: 'migrate.dlq/1', status: failures.length === 0 ? 'ok' : 'error', data },
      ...{ issues: failures.map(issueOf), nextSteps: stepsFor(letters) },
    },
    (ansi) => {
      const table = legsOnly ? lettersText(letters as StoredLetter[], ansi) : allLettersText(letters, ansi)
      return parkedKeys.length === 0 ? table : `${table}\n\n${keysText(parkedKeys, ansi)}`
    },
  )
  for (const { code, message, hint } of output.json ? [] : failures) {
    output.note(failureText({ code, message, hint }, output.colors))
  }
  if (failures[0] !== undefined) output.exit(failures[0].exit)
}

function stepsFor(letters: ListedLetters['letters']): NextStep[] {
  const first = letters.find(({ state }) => state === 'open')
  if (first === undefined) return []
  const { id, kind, service } = first
  const which = kind === 'consumer' ? `${id} --kind consumer --service ${service}` : `${id} --kind dual-write`
  const [what, again] =
    kind === 'consumer'
      ? ['see the message and why it failed', 'have the consumer handle it again, before what waits behind it']
      : ['see what was asked and answered', 'make the service equal to the monolith and resolve it']
  return [
    { cmd: `migrate dlq show ${which}`, why: what },
    { cmd: `migrate dlq retry ${which}`, why: again },
  ]
}
