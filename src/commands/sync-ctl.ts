import type { SyncControl, SyncControlChange } from '../control/sync-control.ts'
import { MigrateError } from '../errors.ts'
import { formatSize, parseSize } from '../model/size.ts'
import { type CommandContext, defineCommand, type GroupDefinition } from './command.ts'
import { personName } from './person.ts'

const pause = defineCommand<{ reason?: string }>({
  name: 'pause',
  summary: 'Let the sync of a service apply nothing until it is resumed, also a worker that starts later',
  examples: [
    'migrate sync ctl pause users',
    'migrate sync ctl pause users --reason "vacuum full at 12:00"',
    'migrate sync ctl pause users --json',
  ],
  configure: (command) =>
    command
      .argument('<service>', 'name of the service in the configuration')
      .option('--reason <text>', 'why, for those who find it'),
  run: (context, [name = ''], { reason }) => order(context, name, { action: 'pause', paused: true, reason }),
})

const resume = defineCommand<object>({
  name: 'resume',
  summary: 'Let the sync of a service go on',
  examples: [
    'migrate sync ctl resume users',
    'migrate sync ctl resume users --json',
    'migrate sync ctl resume users -v',
  ],
  configure: (command) => command.argument('<service>', 'name of the service in the configuration'),
  run: (context, [name = '']) => order(context, name, { action: 'resume', paused: false }),
})

const set = defineCommand<{ rate?: string; sessions?: string }>({
  name: 'set',
  summary: 'Change what the sync of a service may take, while it runs',
  examples: [
    'migrate sync ctl set users --rate 5MiB',
    'migrate sync ctl set users --sessions 40',
    'migrate sync ctl set users --rate none --sessions default',
  ],
  configure: (command) =>
    command
      .argument('<service>', 'name of the service in the configuration')
      .option('--rate <bytes>', 'bytes a second that it writes at most, e.g. 5MiB; none, or default = as configured')
      .option(
        '--sessions <count>',
        "more statements at work in the monolith's database slow it to a batch a second; none, or default",
      ),
  run(context, [name = ''], { rate, sessions }) {
    if (rate === undefined && sessions === undefined) throw usage('give --rate or --sessions')
    return order(context, name, {
      action: 'set',
      ...(rate !== undefined && { rate: limitOf(rate, '--rate takes a size like 5MiB', parseSize) }),
      ...(sessions !== undefined && {
        sessions: limitOf(sessions, '--sessions takes a number from 1 to 100000', countOf),
      }),
    })
  },
})

export const syncCtl: GroupDefinition = {
  name: 'ctl',
  summary: 'Pause, resume or throttle a sync while it runs',
  examples: [
    'migrate sync ctl pause users --reason "vacuum full"',
    'migrate sync ctl resume users',
    'migrate sync ctl set users --rate 5MiB',
  ],
  subcommands: [pause, resume, set],
}

interface Order extends SyncControlChange {
  readonly action: 'pause' | 'resume' | 'set'
  readonly reason?: string | undefined
}

async function order({ output, loadConfig }: CommandContext, name: string, given: Order): Promise<void> {
  const { openApp } = await import('../app/open.ts')
  const { orderSync } = await import('../app/sync-ctl.ts')
  const { action, reason, ...change } = given
  await using app = openApp(await loadConfig(), 'sync-ctl')
  const who = personName()
  const now = await orderSync(app, name, change, {
    ...{ who, action: `sync ctl ${action}` },
    ...(reason !== undefined && { reason }),
  })
  output.result(
    {
      schema: 'migrate.sync-ctl/1',
      status: 'ok',
      data: { service: name, ...now },
      nextSteps: [
        { cmd: `migrate status ${name}`, why: 'see whether it obeys' },
        ...(now.paused === null ? [] : [{ cmd: `migrate sync ctl resume ${name}`, why: 'let it go on' }]),
      ],
    },
    (ansi) => `${ansi.green('✔')} ${text(name, now)}`,
  )
}

function text(name: string, { paused, rate, sessions }: SyncControl): string {
  const said = [
    paused === null
      ? `the sync of ${name} goes on`
      : `the sync of ${name} is paused by ${paused.by} since ${paused.since}`,
    ...(rate === null ? [] : [rate === 0 ? 'at any rate' : `${formatSize(rate)} a second at most`]),
    ...(sessions === null
      ? []
      : [sessions === 0 ? 'however busy the monolith is' : `slower from ${sessions} statements on`]),
  ]
  return said.join(', ')
}

/** null = as configured, 0 = none. */
function limitOf(given: string, reason: string, parse: (given: string) => number | null): number | null {
  if (given === 'default') return null
  if (given === 'none') return 0
  const value = parse(given)
  if (value === null) throw usage(`${reason}, none or default`)
  return value
}

function countOf(given: string): number | null {
  return /^[1-9]\d{0,4}$/.test(given) ? Number(given) : null
}

function usage(reason: string): MigrateError {
  return new MigrateError('USAGE', { reason, command: 'migrate sync ctl set' })
}
