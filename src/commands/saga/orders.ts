import type { Command } from 'commander'
import type { Ordered } from '../../app/sagas.ts'
import type { Order } from '../../saga/operate.ts'
import type { Colors } from '../../ui/text.ts'
import { type CommandContext, defineCommand } from '../command.ts'
import { countOf } from '../count.ts'
import { personName } from '../person.ts'
import { aheadText } from './next.ts'
import { open, usage } from './open.ts'

interface OrderOptions {
  readonly expectSeq?: string
  readonly dryRun?: true
  readonly reason?: string
  readonly result?: string
  readonly notDone?: true
}

export const retry = defineCommand<OrderOptions>({
  name: 'retry',
  summary: 'Try the step at which a saga is stuck again, with as many tries as at first',
  examples: [
    `migrate saga retry orders 0b5c7f8e --reason 'the bank is back'`,
    'migrate saga retry orders 0b5c7f8e 4d1a9c02 --dry-run',
    'migrate saga retry orders 0b5c7f8e --expect-seq 7',
  ],
  configure: (command) => orderOptions(sagas(command)).option('--reason <text>', WHY),
  run: (context, [service = '', ...ids], options) => give(context, service, ids, { verb: 'retry', options }),
})

export const skip = defineCommand<OrderOptions>({
  name: 'skip',
  summary: 'Say that the step at which a saga is stuck has happened, and go on behind it',
  examples: [
    `migrate saga skip orders 0b5c7f8e --reason 'refunded by hand, ticket 4711'`,
    `migrate saga skip orders 0b5c7f8e --reason 'paid, as the bank says' --result '{"paymentId":"77"}'`,
    `migrate saga skip orders 0b5c7f8e --reason 'refunded by hand' --dry-run`,
  ],
  configure: (command) =>
    orderOptions(oneSaga(command))
      .requiredOption('--reason <text>', WHY)
      .option('--result <json>', 'what the step gave, for the steps behind it'),
  run: (context, [service = '', id = ''], options) => give(context, service, [id], { verb: 'skip', options }),
})

export const resume = defineCommand<OrderOptions>({
  name: 'resume',
  summary: 'Try what waits for its next try now',
  examples: [
    'migrate saga resume orders 0b5c7f8e',
    'migrate saga resume orders 0b5c7f8e 4d1a9c02',
    'migrate saga resume orders 0b5c7f8e --dry-run',
  ],
  configure: (command) => orderOptions(sagas(command)).option('--reason <text>', WHY),
  run: (context, [service = '', ...ids], options) => give(context, service, ids, { verb: 'resume', options }),
})

export const cancel = defineCommand<OrderOptions>({
  name: 'cancel',
  summary: 'Take a saga back that has not passed its pivot',
  examples: [
    `migrate saga cancel orders 0b5c7f8e --reason 'the customer called'`,
    `migrate saga cancel orders 0b5c7f8e --reason 'the bank has no such payment' --not-done`,
    `migrate saga cancel orders 0b5c7f8e --reason 'the customer called' --dry-run`,
  ],
  configure: (command) =>
    orderOptions(oneSaga(command))
      .requiredOption('--reason <text>', WHY)
      .option('--not-done', 'the pivot at which it is stuck has not happened: you have found out'),
  run: (context, [service = '', id = ''], options) =>
    give(context, service, [id], { verb: options.notDone === true ? 'not-done' : 'cancel', options }),
})

const WHY = 'why, for those who look at it later'

function sagas(command: Command): Command {
  return command
    .argument('<service>', 'the service')
    .argument('<ids...>', 'the sagas; the beginning of each id is enough')
}

function oneSaga(command: Command): Command {
  return command.argument('<service>', 'the service').argument('<id>', 'the saga; the beginning of its id is enough')
}

function orderOptions(command: Command): Command {
  return command
    .option('--expect-seq <number>', 'only if the saga is still at this entry of its journal, as `show` has it')
    .option('--dry-run', 'say what would be done')
}

async function give(
  context: CommandContext,
  service: string,
  ids: readonly string[],
  { verb, options }: { readonly verb: Order['verb']; readonly options: OrderOptions },
): Promise<void> {
  const name = verb === 'not-done' ? 'cancel' : verb
  const { expectSeq, reason, result } = options
  const dryRun = options.dryRun === true
  if (expectSeq !== undefined && ids.length > 1) throw usage('--expect-seq is for one saga', name)
  // as `show` proposes it
  if (reason !== undefined && /^[\s.…]*$/.test(reason)) throw usage('--reason says why', name)
  const order: Order = {
    ...{ verb, by: personName(), reason: reason ?? null },
    ...(result !== undefined && { result: json(result) }),
  }
  const seq = expectSeq === undefined ? null : countOf('--expect-seq', expectSeq, `saga ${name}`)
  const { orderSagas } = await import('../../app/sagas.ts')
  await using app = await open(context)
  const done = await orderSagas(app, service, { ids, order, expectSeq: seq, dryRun })
  const [first] = done
  if (done.length === 1 && first?.error) throw first.error
  const failed = done.flatMap(({ error }) => error ?? [])
  const worked = done.find(({ after }) => after !== null)
  context.output.result(
    {
      ...{ schema: `migrate.saga-${name}/1`, status: failed.length === 0 ? 'ok' : 'action_required' },
      data: {
        dryRun,
        sagas: done.map(({ saga, after, ahead, error }) => ({
          ...{ id: saga.id, status: saga.status, after: after?.status ?? null, ahead, error: error?.code ?? null },
        })),
      },
      issues: failed.map(({ code, message, hint }) => ({ code, severity: 'error', message, hint })),
      nextSteps:
        worked === undefined
          ? []
          : [{ cmd: `migrate saga show ${service} ${worked.saga.id.slice(0, 8)} --watch`, why: 'see how it goes on' }],
    },
    (ansi) => done.map((each) => line(each, name, ansi)).join('\n'),
  )
}

function line({ saga, after, ahead, error }: Ordered, verb: string, ansi: Colors): string {
  const step = saga.step === null ? '' : ` at ${saga.step}`
  if (error !== null) return `${ansi.red('✖')} ${error.message}`
  const then = ahead === null ? '' : aheadText(ahead)
  if (after === null) return `would ${verb} ${saga.id}, which is ${saga.status}${step}; then: ${then}`
  return `${ansi.green('✔')} ${saga.id} was ${saga.status}${step}, and is ${after.status}; now: ${then}`
}

function json(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw usage('--result is not JSON', 'skip')
  }
}
