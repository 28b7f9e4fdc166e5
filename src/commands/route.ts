import { MigrateError } from '../errors.ts'
import { keyValues, table } from '../ui/text.ts'
import { addressOf } from './address.ts'
import { defineCommand, type GroupDefinition } from './command.ts'
import { percentOf } from './percent.ts'

const serve = defineCommand<{ listen?: string }>({
  name: 'serve',
  summary: 'Run a router in front of the monolith',
  examples: ['migrate route serve', 'migrate route serve --listen 0.0.0.0:8080', 'migrate route serve --json'],
  configure: (command) => command.option('--listen <host:port>', 'instead of router.listen of the configuration'),
  async run({ signal, output, loadConfig }, _args, { listen }) {
    const { openApp } = await import('../app/open.ts')
    const app = await import('../app/route.ts')
    const { openAlerts } = await import('../app/alerts.ts')
    const config = await loadConfig()
    const opened = openApp(config, 'router')
    const alerts = openAlerts(opened, output.note)
    try {
      const { counters } = await app.serve(opened, {
        listen: listen === undefined ? config.router.listen : addressOf(listen, 'route serve'),
        ...{ signal, alerts },
        log: (line) => output.note(line),
        onListening: (router, instance) =>
          output.progress(
            { event: 'listening', url: router.address.url, instance },
            `listening on ${router.address.url} as ${instance}`,
          ),
      })
      output.result({ schema: 'migrate.route-serve/1', status: 'ok', data: { counters } }, () => 'drained')
    } finally {
      await app.closeSoon(alerts)
      await app.closeSoon(opened)
    }
  },
})

const set = defineCommand<{ percent?: string; off?: true }>({
  name: 'set',
  summary: 'Set the share of the reads that a service gets',
  examples: [
    'migrate route set users --percent 25',
    'migrate route set users --percent 0.5',
    'migrate route set users --off',
  ],
  configure: (command) =>
    command
      .argument('<service>', 'name of the service in the configuration')
      .option('--percent <number>', '0 to 100, three decimals')
      .option('--off', 'all reads to the monolith, back to stage sync'),
  async run({ output, loadConfig }, [name = ''], { percent: text, off }) {
    if ((text === undefined) !== (off === true)) {
      throw new MigrateError('USAGE', { reason: 'give either --percent or --off', command: 'migrate route set' })
    }
    const percent = text === undefined ? null : percentOf(text)
    const { openApp } = await import('../app/open.ts')
    const { setPercent } = await import('../app/route.ts')
    await using app = openApp(await loadConfig(), 'route-set')
    const { before, after } = await setPercent(app, name, percent)
    output.result(
      {
        schema: 'migrate.route-set/1',
        status: 'ok',
        data: { service: name, before, after },
        nextSteps: [
          { cmd: 'migrate route show', why: 'see which routers obey it' },
          { cmd: `migrate dual-write ${name}`, why: 'send the writes to the service too' },
        ],
      },
      (ansi) =>
        `${ansi.green('✔')} ${name}: ${before.percent} % → ${after.percent} % of the reads (stage ${after.stage}, version ${after.version})`,
    )
  },
})

const show = defineCommand({
  name: 'show',
  summary: 'Show what the routers obey',
  examples: ['migrate route show', 'migrate route show --json', 'migrate route show -c shop.yaml'],
  async run({ output, loadConfig }) {
    const { openApp } = await import('../app/open.ts')
    const { showRoutes } = await import('../app/route.ts')
    await using app = openApp(await loadConfig(), 'route-show')
    const { services, routers } = await showRoutes(app)
    output.result({ schema: 'migrate.route-show/1', status: 'ok', data: { services, routers } }, (ansi) => {
      const rows = services.map((s) => [s.service, s.stage, `${s.percent} %`, s.legs ? 'yes' : 'no', String(s.version)])
      const columns = [
        { title: 'service' },
        { title: 'stage' },
        { title: 'reads', align: 'right' as const },
        { title: 'legs' },
        { title: 'version' },
      ]
      const newest = Math.max(0, ...services.map((s) => s.version))
      const live = routers.map((r): [string, string] => [
        r.instance,
        `${r.version < newest ? ansi.yellow(`version ${r.version}, behind`) : `version ${r.version}`}, seen ${r.age.toFixed(1)} s ago`,
      ])
      const list = live.length === 0 ? 'no router is running: migrate route serve' : keyValues(live, ansi)
      return `${table(columns, rows, ansi)}\n\n${list}`
    })
  },
})

export const route: GroupDefinition = {
  name: 'route',
  summary: 'Send a share of the reads to a service',
  examples: ['migrate route serve', 'migrate route set users --percent 25', 'migrate route show'],
  subcommands: [serve, set, show],
}
