import type { App } from '../../app/open.ts'
import { MigrateError } from '../../errors.ts'
import { type CommandContext, defineCommand } from '../command.ts'
import type { NextStep } from '../output.ts'
import { personName } from '../person.ts'
import { alertsOf, type ChoiceOptions, choiceOptions, consumersMeant, open, requireChoice, usage } from './choice.ts'
import { planned } from './planned.ts'

type DiscardOptions = ChoiceOptions & { readonly confirm?: string }

export const discard = defineCommand<DiscardOptions>({
  name: 'discard',
  summary: 'Close dead letters and leave the rows, or the messages, as they are',
  examples: [
    'migrate dlq discard 7 --confirm users',
    'migrate dlq discard --all --service users --dry-run',
    'migrate dlq discard 7 --kind consumer --service orders --confirm orders',
  ],
  configure: (command) =>
    choiceOptions(command).option('--confirm <service>', 'the name of the service, since this cannot be taken back'),
  async run(context, ids, options) {
    requireChoice(ids, options, 'dlq discard')
    await using app = await open(context)
    const service = await consumersMeant(app, options)
    if (service === null) await discardLegs(context, app, { ids, options })
    else await discardMessages(context, app, { ids, options, service })
  },
})

interface Choice {
  readonly ids: readonly string[]
  readonly options: DiscardOptions
}

async function discardLegs(context: CommandContext, app: App, { ids, options }: Choice): Promise<void> {
  const { chooseLetters, discardLetters } = await import('../../app/dead-letters.ts')
  const letters = await chooseLetters(app, { ids, service: options.service ?? null })
  const [service = options.service ?? '', ...others] = new Set(letters.map((letter) => letter.service))
  if (others.length > 0) throw usage('letters of one service at a time: name it with --service', 'dlq discard')
  if (options.dryRun === true) return planned(context.output, letters, `would discard ${letters.length} letter(s)`)
  if (letters.length > 0) requireConfirmed(options, service)
  const named = letters.map(({ id }) => id)
  await using alerts = await alertsOf(context, app)
  const discarded = await discardLetters(app, service, named, alerts)
  report(context, discarded, { cmd: `migrate reconcile ${service}`.trim(), why: 'see whether rows differ' })
}

async function discardMessages(
  context: CommandContext,
  app: App,
  { ids, options, service }: Choice & { readonly service: string },
): Promise<void> {
  const { chooseConsumerLetters, discardConsumerLetters } = await import('../../app/consumer-letters.ts')
  // by name also one that is tried again and again; all means those that are open
  const states = ids.length === 0 ? (['open'] as const) : (['open', 'retrying'] as const)
  const letters = await chooseConsumerLetters(app, service, { ids, states })
  if (options.dryRun === true) {
    const text = `would discard ${letters.length} letter(s) unhandled; their keys go on where no other letter is open`
    return planned(context.output, letters, text)
  }
  if (letters.length > 0) requireConfirmed(options, service)
  const named = letters.map(({ id }) => id)
  const discarded = await discardConsumerLetters(app, service, named, personName())
  const cmd = `migrate dlq list --kind consumer --service ${service}`
  report(context, discarded, { cmd, why: 'see what still waits' })
}

function requireConfirmed({ confirm }: DiscardOptions, service: string): void {
  if (confirm === service) return
  throw new MigrateError('CONFIRMATION_MISSING', { action: 'discarding dead letters', name: service })
}

function report({ output }: CommandContext, discarded: readonly string[], next: NextStep): void {
  output.result(
    { schema: 'migrate.dlq-discard/1', status: 'ok', data: { discarded }, nextSteps: [next] },
    (ansi) => `${ansi.green('✔')} ${discarded.length} letter(s) discarded`,
  )
}
