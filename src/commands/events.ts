import type { App } from '../app/open.ts'
import { MigrateError } from '../errors.ts'
import type { ExpectedVersion } from '../events/append.ts'
import { type EventPosition, START } from '../events/define.ts'
import { type CommandContext, defineCommand, type GroupDefinition } from './command.ts'
import { countOf } from './count.ts'
import { eventLine, verificationText } from './events-text.ts'
import { parseEvents, readAllOf } from './events-input.ts'
import { personName } from './person.ts'

const read = defineCommand<{ from: string; limit: string }>({
  name: 'read',
  summary: 'Print the events of a stream, or of all streams in their order',
  examples: [
    'migrate events read orders order-42',
    'migrate events read orders --limit 20',
    'migrate events read orders order-42 --from 7 --json',
  ],
  configure: (command) =>
    command
      .argument('<service>', 'the service')
      .argument('[stream]', 'the stream; without it all events')
      .option('--from <version>', 'first version of the stream', '1')
      .option('--limit <count>', 'at most so many events', '1000'),
  async run(context, [service = '', stream], options) {
    const [from, limit] = [
      countOf('--from', options.from, 'events read'),
      countOf('--limit', options.limit, 'events read'),
    ]
    const { readEvents } = await import('../app/events.ts')
    await using app = await open(context)
    const events = await readEvents(app, service, { stream: stream ?? null, from, limit })
    context.output.result(
      {
        schema: 'migrate.events/1',
        status: 'ok',
        data: { events },
        nextSteps:
          stream === undefined
            ? []
            : [{ cmd: `migrate events verify ${service} ${stream}`, why: 'see whether anybody has changed them' }],
      },
      (ansi) => events.map((event) => eventLine(event, ansi)).join('\n') || 'no events',
    )
  },
})

const tail = defineCommand<{ fromStart?: true }>({
  name: 'tail',
  summary: 'Print events as they are committed, until ^C',
  examples: [
    'migrate events tail orders',
    'migrate events tail orders --from-start',
    'migrate events tail orders --json',
  ],
  configure: (command) =>
    command
      .argument('<service>', 'the service')
      .option('--from-start', 'begin with the oldest event instead of the next one'),
  async run(context, [service = ''], { fromStart }) {
    const { output, signal } = context
    const { tailEvents } = await import('../app/events.ts')
    await using app = await open(context)
    await tailEvents(app, service, {
      fromStart: fromStart === true,
      signal,
      onEvent: (event) => output.print({ event: 'event', ...event }, eventLine(event, output.colors)),
    })
    throw signal.reason
  },
})

const append = defineCommand<{ expectedVersion: string; data?: string; type?: string; dryRun?: true }>({
  name: 'append',
  summary: 'Append events by hand',
  examples: [
    `migrate events append orders order-42 --type OrderNoted --data '{"note":"seen"}' --expected-version 7`,
    'migrate events append orders order-42 --expected-version exists < events.json',
    `migrate events append orders order-42 --type OrderNoted --data '{}' --expected-version 7 --dry-run`,
  ],
  configure: (command) =>
    command
      .argument('<service>', 'the service')
      .argument('<stream>', 'the stream')
      .requiredOption('--expected-version <version>', 'a version, no-stream, exists or any')
      .option('--type <type>', 'type of the one event whose payload is --data')
      .option(
        '--data <json>',
        'payload of the event; without it events are read from stdin: an array, or one object, of {type, data, id?, metadata?, schemaVersion?}',
      )
      .option('--dry-run', 'say what would be appended'),
  async run(context, [service = '', stream = ''], { expectedVersion, type, data, dryRun }) {
    const expected = versionOf(expectedVersion)
    const events = parseEvents(type, data ?? null, data === undefined ? await readAllOf(process.stdin) : '')
    const { appendByHand } = await import('../app/events.ts')
    if (dryRun === true) {
      const text = `would append ${events.map((event) => event.type).join(', ')} to ${stream}`
      return context.output.result(
        { schema: 'migrate.events-append/1', status: 'ok', data: { dryRun: true, events } },
        () => text,
      )
    }
    await using app = await open(context)
    const done = await appendByHand(app, service, { stream, expected, events, who: personName() })
    context.output.result(
      {
        schema: 'migrate.events-append/1',
        status: 'ok',
        data: { stream, ...done },
        nextSteps: [
          {
            cmd: `migrate events read ${service} ${stream} --from ${done.version - events.length + 1}`,
            why: 'see them',
          },
        ],
      },
      (ansi) =>
        `${ansi.green('✔')} ${stream} is at version ${done.version}${done.repeated ? '; these events were there already' : ''}`,
    )
  },
})

const replay = defineCommand<{ from?: string; dryRun?: true; confirm?: string }>({
  name: 'replay',
  summary: 'Set a subscription back, so that events come again',
  examples: [
    'migrate events replay orders order_totals_v1 --dry-run',
    'migrate events replay orders order_totals_v1 --confirm order_totals_v1',
    'migrate events replay orders mailer --from 1/7042/118 --confirm mailer',
  ],
  configure: (command) =>
    command
      .argument('<service>', 'the service')
      .argument('<name>', 'the subscription; a projection is its table, like order_totals_v1')
      .option(
        '--from <position>',
        'only events behind this one, as `read --json` names positions; a projection takes all events',
      )
      .option('--dry-run', 'say what would be done')
      .option(
        '--confirm <name>',
        'the name again: its handler does everything once more, and the rows of a projection go',
      ),
  async run(context, [service = '', name = ''], { from, dryRun, confirm }) {
    const to = from === undefined ? START : positionOf(from)
    const { replayEvents, subscriptionOf } = await import('../app/events.ts')
    await using app = await open(context)
    const state = await subscriptionOf(app, service, name)
    const { table, events } = state
    const which = from === undefined ? 'all events' : `the events behind ${from}`
    const what = `${name} handles ${which} once more (${events} so far)${table === null ? '' : `, and the table ${table} is emptied before`}`
    const data = { name, table, events, from: from ?? null, dryRun: dryRun === true }
    if (dryRun !== true && confirm !== name)
      throw new MigrateError('CONFIRMATION_MISSING', { action: 'replaying events', name })
    await replayEvents(app, service, state, { to, who: personName(), dryRun: dryRun === true })
    context.output.result({ schema: 'migrate.events-replay/1', status: 'ok', data }, (ansi) =>
      dryRun === true ? `would: ${what}` : `${ansi.green('✔')} ${what}`,
    )
  },
})

const verify = defineCommand<object>({
  name: 'verify',
  summary: 'Look for events that were edited, removed or put in between',
  examples: [
    'migrate events verify orders',
    'migrate events verify orders order-42',
    'migrate events verify orders --json',
  ],
  configure: (command) => command.argument('<service>', 'the service').argument('[stream]', 'only this stream'),
  async run(context, [service = '', stream]) {
    const { verifyService } = await import('../app/events.ts')
    await using app = await open(context)
    const found = await verifyService(app, service, { ...(stream !== undefined && { stream }), signal: context.signal })
    const status = found.defects.length === 0 ? 'ok' : 'findings'
    context.output.result({ schema: 'migrate.events-verify/1', status, data: found }, (ansi) =>
      verificationText(found, ansi),
    )
  },
})

export const events: GroupDefinition = {
  name: 'events',
  summary: "Look into a service's event store, and mend it",
  examples: ['migrate events read orders order-42', 'migrate events tail orders', 'migrate events verify orders'],
  subcommands: [read, tail, append, replay, verify],
}

async function open({ loadConfig }: CommandContext): Promise<App> {
  const [{ openApp }, config] = await Promise.all([import('../app/open.ts'), loadConfig()])
  return openApp(config, 'events')
}

function versionOf(text: string): ExpectedVersion {
  if (text === 'no-stream' || text === 'exists' || text === 'any') return text
  if (/^\d{1,15}$/.test(text)) return Number(text)
  const reason = '--expected-version takes a version, no-stream, exists or any'
  throw new MigrateError('USAGE', { reason, command: 'migrate events append' })
}

function positionOf(text: string): EventPosition {
  const [, epoch, tx, seq] = /^(\d{1,9})\/(\d{1,19})\/(\d{1,18})$/.exec(text) ?? []
  if (epoch === undefined || tx === undefined || seq === undefined) {
    const reason = '--from takes a position, EPOCH/TX/SEQ, as `migrate events read --json` has it'
    throw new MigrateError('USAGE', { reason, command: 'migrate events replay' })
  }
  return { epoch: Number(epoch), tx: BigInt(tx), seq: BigInt(seq) }
}
