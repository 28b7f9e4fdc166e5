import type { App } from '../app/open.ts'
import type { StoredLetter } from '../control/dead-letters.ts'
import { MigrateError } from '../errors.ts'
import { defineCommand, type CommandContext, type GroupDefinition } from './command.ts'
import { letterText, lettersText } from './dlq-text.ts'
import { rangeLine } from './reconcile-text.ts'

interface LetterOptions {
  readonly kind: string
  readonly service?: string
}

interface ChoiceOptions extends LetterOptions {
  readonly all?: true
  readonly dryRun?: true
}

const list = defineCommand<LetterOptions & { all?: true }>({
  name: 'list',
  summary: 'List the dead letters that are open',
  examples: ['migrate dlq list', 'migrate dlq list --service users --all', 'migrate dlq list --kind dual-write --json'],
  configure: (command) =>
    command
      .option('--kind <kind>', 'kind of the letters', 'dual-write')
      .option('--service <name>', 'only those of this service')
      .option('--all', 'also those that are resolved or discarded'),
  async run(context, _, { all, ...options }) {
    requireKind(options, 'dlq list')
    const { listDeadLetters } = await import('../app/dead-letters.ts')
    await using app = await open(context)
    const states = all === true ? (['open', 'resolved', 'discarded'] as const) : (['open'] as const)
    const letters = await listDeadLetters(app, options.service ?? null, states)
    const first = letters.find(({ state }) => state === 'open')
    const nextSteps =
      first === undefined
        ? []
        : [
            { cmd: `migrate dlq show ${first.id}`, why: 'see what was asked and answered' },
            { cmd: `migrate dlq retry ${first.id}`, why: 'make the service equal to the monolith and resolve it' },
          ]
    context.output.result({ schema: 'migrate.dlq/1', status: 'ok', data: { letters }, nextSteps }, (ansi) =>
      lettersText(letters, ansi),
    )
  },
})

const show = defineCommand<LetterOptions & { body?: true }>({
  name: 'show',
  summary: 'Show one dead letter',
  examples: ['migrate dlq show 7', 'migrate dlq show 7 --body', 'migrate dlq show 7 --json'],
  configure: (command) =>
    command
      .argument('<id>', 'number of the letter')
      .option('--kind <kind>', 'kind of the letter', 'dual-write')
      .option('--body', "also the beginning of the request's body, with the values in it"),
  async run(context, [id = ''], { body: wanted, ...options }) {
    requireKind(options, 'dlq show')
    requireIds([id], 'dlq show')
    const { showDeadLetter } = await import('../app/dead-letters.ts')
    await using app = await open(context)
    const { letter, body } = await showDeadLetter(app, id, wanted === true)
    const text = body === null ? null : body.toString('utf8')
    context.output.result(
      {
        schema: 'migrate.dlq-letter/1',
        status: 'ok',
        data: { letter, ...(wanted === true ? { body: text } : {}) },
        nextSteps:
          letter.state === 'open'
            ? [{ cmd: `migrate dlq retry ${id}`, why: 'make the service equal to the monolith and resolve it' }]
            : [],
      },
      (ansi) => letterText(letter, text, ansi),
    )
  },
})

const retry = defineCommand<ChoiceOptions>({
  name: 'retry',
  summary: 'Make the rows of the service equal to the monolith, then resolve dead letters',
  examples: ['migrate dlq retry 7', 'migrate dlq retry 7 8 9 --dry-run', 'migrate dlq retry --all --service users'],
  configure: (command) =>
    command
      .argument('[ids...]', 'numbers of the letters')
      .option('--kind <kind>', 'kind of the letters', 'dual-write')
      .option('--service <name>', 'only letters of this service')
      .option('--all', 'all that are open')
      .option('--dry-run', 'say what would be done'),
  async run(context, ids, options) {
    const { output, signal } = context
    requireChoice(ids, options, 'dlq retry')
    const { chooseLetters, retryLetters } = await import('../app/dead-letters.ts')
    await using app = await open(context)
    const letters = await chooseLetters(app, { ids, service: options.service ?? null })
    const services = [...new Set(letters.map(({ service }) => service))]
    if (options.dryRun === true) {
      const what = `compare every row of ${services.join(', ') || 'no service'} and write those that differ as the monolith has them`
      return planned(context, letters, `would ${what}, then resolve ${letters.length} letter(s); no request is sent`)
    }
    await using alerts = await alertsOf(context, app)
    const resolved = await retryLetters(app, letters, {
      ...{ signal, alerts },
      events: {
        onRange: (range) => output.progress({ event: 'range', ...range }, rangeLine(range)),
        onResync: (service, rows) =>
          output.progress({ event: 'resynced', service, rows }, `${service}: ${rows} rows written anew`),
      },
    })
    output.result(
      {
        schema: 'migrate.dlq-retry/1',
        status: 'ok',
        data: { resolved },
        nextSteps: services.map((name) => ({ cmd: `migrate status ${name}`, why: 'see how its second legs do' })),
      },
      (ansi) => `${ansi.green('✔')} ${resolved.length} letter(s) resolved: every row is as the monolith has it`,
    )
  },
})

const discard = defineCommand<ChoiceOptions & { confirm?: string }>({
  name: 'discard',
  summary: 'Close dead letters and leave the rows as they are',
  examples: [
    'migrate dlq discard 7 --confirm users',
    'migrate dlq discard 7 8 --dry-run',
    'migrate dlq discard --all --service users --confirm users',
  ],
  configure: (command) =>
    command
      .argument('[ids...]', 'numbers of the letters')
      .option('--kind <kind>', 'kind of the letters', 'dual-write')
      .option('--service <name>', 'only letters of this service')
      .option('--all', 'all that are open')
      .option('--dry-run', 'say what would be done')
      .option('--confirm <service>', 'the name of the service, since this cannot be taken back'),
  async run(context, ids, options) {
    requireChoice(ids, options, 'dlq discard')
    const { chooseLetters, discardLetters } = await import('../app/dead-letters.ts')
    await using app = await open(context)
    const letters = await chooseLetters(app, { ids, service: options.service ?? null })
    const [service = options.service ?? '', ...others] = new Set(letters.map((letter) => letter.service))
    if (others.length > 0) throw usage('letters of one service at a time: name it with --service', 'dlq discard')
    if (options.dryRun === true) return planned(context, letters, `would discard ${letters.length} letter(s)`)
    if (letters.length > 0 && options.confirm !== service) {
      throw new MigrateError('CONFIRMATION_MISSING', { action: 'discarding dead letters', name: service })
    }
    const named = letters.map(({ id }) => id)
    await using alerts = await alertsOf(context, app)
    const discarded = await discardLetters(app, service, named, alerts)
    context.output.result(
      {
        schema: 'migrate.dlq-discard/1',
        status: 'ok',
        data: { discarded },
        nextSteps: [{ cmd: `migrate reconcile ${service}`.trim(), why: 'see whether rows differ' }],
      },
      (ansi) => `${ansi.green('✔')} ${discarded.length} letter(s) discarded`,
    )
  },
})

export const dlq: GroupDefinition = {
  name: 'dlq',
  summary: 'Look at and settle what needs a person',
  examples: ['migrate dlq list', 'migrate dlq retry 7', 'migrate dlq discard 7 --confirm users'],
  subcommands: [list, show, retry, discard],
}

/** The alert is over with the last open letter. */
async function alertsOf({ output }: CommandContext, app: App) {
  const { openAlerts } = await import('../app/alerts.ts')
  return openAlerts(app, output.note)
}

async function open({ loadConfig }: CommandContext): Promise<App> {
  const { openApp } = await import('../app/open.ts')
  return openApp(await loadConfig(), 'dlq')
}

function planned({ output }: CommandContext, letters: readonly StoredLetter[], text: string): void {
  const data = { letters: letters.map(({ id }) => id) }
  output.result(
    { schema: 'migrate.dlq-plan/1', status: 'ok', data },
    (ansi) => `${lettersText(letters, ansi)}\n${text}`,
  )
}

function requireChoice(ids: readonly string[], options: ChoiceOptions, command: string): void {
  requireKind(options, command)
  if (ids.length === 0 && options.all !== true) throw usage('name letters, or --all', command)
  if (ids.length > 0 && options.all === true) throw usage('name letters or --all, not both', command)
  requireIds(ids, command)
}

function requireKind({ kind }: LetterOptions, command: string): void {
  if (kind !== 'dual-write') throw usage('--kind must be dual-write', command)
}

function requireIds(ids: readonly string[], command: string): void {
  if (!ids.every((id) => /^[1-9]\d{0,17}$/.test(id))) throw usage('a dead letter is named by its number', command)
}

function usage(reason: string, command: string): MigrateError {
  return new MigrateError('USAGE', { reason, command: `migrate ${command}` })
}
