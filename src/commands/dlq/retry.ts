import type { App } from '../../app/open.ts'
import { type CommandContext, defineCommand } from '../command.ts'
import { personName } from '../person.ts'
import { rangeLine } from '../reconcile-text.ts'
import { alertsOf, type ChoiceOptions, choiceOptions, consumersMeant, open, requireChoice } from './choice.ts'
import { planned } from './planned.ts'

export const retry = defineCommand<ChoiceOptions>({
  name: 'retry',
  summary: 'Resolve dead letters: compare and write rows (dual-write), or handle messages again (consumer)',
  examples: [
    'migrate dlq retry 7',
    'migrate dlq retry --all --service users --dry-run',
    'migrate dlq retry 7 8 --kind consumer --service orders',
  ],
  configure: choiceOptions,
  async run(context, ids, options) {
    requireChoice(ids, options, 'dlq retry')
    await using app = await open(context)
    const service = await consumersMeant(app, options)
    if (service === null) await retryLegs(context, app, { ids, options })
    else await retryMessages(context, app, { ids, options, service })
  },
})

interface Choice {
  readonly ids: readonly string[]
  readonly options: ChoiceOptions
}

async function retryLegs(context: CommandContext, app: App, { ids, options }: Choice): Promise<void> {
  const { output, signal } = context
  const { chooseLetters, retryLetters } = await import('../../app/dead-letters.ts')
  const letters = await chooseLetters(app, { ids, service: options.service ?? null })
  const services = [...new Set(letters.map(({ service }) => service))]
  if (options.dryRun === true) {
    const what = `compare every row of ${services.join(', ') || 'no service'} and write those that differ as the monolith has them`
    return planned(output, letters, `would ${what}, then resolve ${letters.length} letter(s); no request is sent`)
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
}

async function retryMessages(
  { output }: CommandContext,
  app: App,
  { ids, options, service }: Choice & { readonly service: string },
): Promise<void> {
  const { chooseConsumerLetters, retryConsumerLetters } = await import('../../app/consumer-letters.ts')
  const letters = await chooseConsumerLetters(app, service, { ids, states: ['open'] })
  if (options.dryRun === true) {
    const text = `would put ${letters.length} letter(s) before what waits behind them, for the running consumer`
    return planned(output, letters, text)
  }
  const chosen = letters.map(({ id }) => id)
  const retrying = await retryConsumerLetters(app, service, chosen, personName())
  output.result(
    {
      schema: 'migrate.dlq-retry/1',
      status: 'ok',
      data: { service, retrying },
      nextSteps: [
        {
          cmd: `migrate dlq list --kind consumer --service ${service} --all`,
          why: 'resolved: it was handled; open: it failed again; retrying: no consumer has come by yet',
        },
      ],
    },
    (ansi) => `${ansi.green('✔')} ${retrying.length} letter(s) wait for the consumer, before what is behind them`,
  )
}
