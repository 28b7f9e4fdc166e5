import type { App } from '../../app/open.ts'
import { EVERY, UNSETTLED } from '../../consumer/read-letters.ts'
import { type CommandContext, defineCommand } from '../command.ts'
import { consumersMeant, kindOption, type LetterOptions, open, requireIds, requireKind } from './choice.ts'

interface ExportOptions extends LetterOptions {
  readonly all?: true
  readonly output?: string
}

export const exportLetters = defineCommand<ExportOptions>({
  name: 'export',
  summary: 'Write dead letters as NDJSON, with the bytes as they came',
  examples: [
    'migrate dlq export --kind consumer --service orders > letters.ndjson',
    'migrate dlq export 7 8 --kind consumer --service orders --output letters.ndjson',
    'migrate dlq export --kind dual-write --all',
  ],
  configure: (command) =>
    kindOption(command.argument('[ids...]', 'numbers of the letters; without them those that nobody has settled'))
      .option('--service <name>', 'only letters of this service; each service numbers the letters of its consumers')
      .option('--all', 'without numbers: also those that are resolved or discarded')
      .option('--output <file>', 'to this file, which must not be there; default stdout'),
  async run(context, ids, options) {
    requireKind(options, 'dlq export')
    requireIds(ids, 'dlq export')
    await using app = await open(context)
    const letters = await lettersMeant(app, ids, options)
    const { output: path } = options
    if (path === undefined) await toStdout(context, letters)
    else await toFile(context, letters, path)
  },
})

type Letters = AsyncIterable<{ readonly id: string }>

async function lettersMeant(app: App, ids: readonly string[], options: ExportOptions): Promise<Letters> {
  const service = await consumersMeant(app, options)
  const settled = options.all === true || ids.length > 0
  if (service === null) {
    const { exportDeadLetters } = await import('../../app/dead-letters.ts')
    return exportDeadLetters(app, { ids, service: options.service ?? null }, settled)
  }
  const { chooseConsumerLetters, exportConsumerLetters } = await import('../../app/consumer-letters.ts')
  const letters = await chooseConsumerLetters(app, service, { ids, states: settled ? EVERY : UNSETTLED })
  return exportConsumerLetters(app, service, letters)
}

async function toStdout({ output }: CommandContext, letters: Letters): Promise<void> {
  let count = 0
  for await (const letter of letters) {
    count += 1
    output.print({ event: 'letter', ...letter }, JSON.stringify(letter))
  }
  report(output, count, null)
}

async function toFile({ output }: CommandContext, letters: Letters, path: string): Promise<void> {
  const { createFileOf } = await import('../../config/create-files.ts')
  let count = 0
  async function* lines(): AsyncGenerator<string, void, undefined> {
    for await (const letter of letters) {
      count += 1
      yield `${JSON.stringify(letter)}\n`
    }
  }
  // messages may hold what is not everybody's business
  await createFileOf({ path, text: lines(), mode: 0o600 })
  report(output, count, path)
}

/** To stdout went the letters, and nothing else. */
function report(output: CommandContext['output'], letters: number, path: string | null): void {
  const text = `${letters} letter(s) written${path === null ? '' : ` to ${path}`}`
  output.result({ schema: 'migrate.dlq-export/1', status: 'ok', data: { letters, output: path } }, () =>
    path === null ? '' : text,
  )
  if (path === null && !output.json) output.note(text)
}
