import type { InitResult } from '../app/init.ts'
import { MigrateError } from '../errors.ts'
import { type Colors, keyValues, plain } from '../ui/text.ts'
import { defineCommand } from './command.ts'

export const init = defineCommand<{ from?: string; service: readonly string[] }>({
  name: 'init',
  summary: "Write a first configuration from the catalogue of the monolith's database",
  examples: [
    'migrate init --from postgres://me@db.internal/shop',
    'migrate init --service users=users,user_preferences --service orders=orders,order_items',
    'migrate init -c shop/migrate.yaml --json',
  ],
  configure: (command) =>
    command
      .option('--from <url>', "the monolith's database; default: the variable MONOLITH_DATABASE_URL")
      .option(
        '--service <name=tables>',
        'a service and its tables, separated by commas; may be repeated; default: propose services',
        (value: string, before: readonly string[]) => [...before, value],
        [],
      ),
  async run({ output, global, env }, _args, { from, service }) {
    const url = from ?? env['MONOLITH_DATABASE_URL'] ?? ''
    const { postgresUrl } = await import('../stores/postgres/options.ts')
    if (url === '') throw usage('--from is missing, and the variable MONOLITH_DATABASE_URL is not set')
    if (!postgresUrl.safeParse(url).success) {
      throw usage('--from is not a postgres URL, expected postgres://user@host:port/database')
    }
    if (from !== undefined && new URL(from).password !== '') {
      output.note('The password in --from is visible to every user of this machine; MONOLITH_DATABASE_URL hides it.')
    }
    const services = servicesOf(service)
    const { initProject } = await import('../app/init.ts')
    const result = await initProject({ from: url, services, path: global.config })
    const { join, dirname } = await import('node:path')
    const config = global.config === 'migrate.yaml' ? '' : ` -c ${global.config}`
    const variables = join(dirname(global.config), '.env')
    output.result(
      {
        schema: 'migrate.init/1',
        status: 'ok',
        data: result,
        nextSteps: [
          { cmd: `cp ${variables}.example ${variables}`, why: 'and fill in the passwords' },
          {
            cmd: `migrate config validate${config} --env-file ${variables}`,
            why: 'after looking at the services proposed',
          },
          {
            cmd: `migrate check${config} --env-file ${variables}`,
            why: 'what the databases need before the first sync',
          },
        ],
      },
      (ansi) => text(result, ansi),
    )
  },
})

/** `users=users,user_preferences` by name. */
function servicesOf(given: readonly string[]): Record<string, string[]> {
  const services: Record<string, string[]> = {}
  const owners = new Map<string, string>()
  for (const entry of given) {
    const [, name = '', list = ''] = /^([^=]*)=(.*)$/s.exec(entry) ?? []
    const tables = list.split(',').map((table) => table.trim().replace(/^public\./, ''))
    if (!/^[a-z][a-z0-9_-]{0,29}$/.test(name) || tables.includes('')) {
      throw usage(`--service ${JSON.stringify(entry)} is not NAME=table,table with a lowercase NAME`)
    }
    if (name === 'monolith') throw usage('a service cannot be called monolith')
    if (Object.keys(services).some((other) => other.replaceAll('-', '_') === name.replaceAll('-', '_'))) {
      throw usage(`--service ${name} is there twice, or differs from another only by - and _`)
    }
    for (const table of tables) {
      const owner = owners.get(table)
      if (owner !== undefined) throw usage(`--service ${name} names ${table}, which already belongs to ${owner}`)
      owners.set(table, name)
    }
    services[name] = tables
  }
  return services
}

function usage(reason: string): MigrateError {
  return new MigrateError('USAGE', { reason, command: 'migrate init' })
}

function text({ files, services, staying, crossing, withoutPrimaryKey }: InitResult, ansi: Colors): string {
  const list = (names: readonly string[]) => plain(names.join(', '))
  const pairs = [
    ...services.map(({ name, tables, crossing: keys }) => {
      const across = keys.length === 0 ? '' : ansi.dim(`  ${keys.length} foreign key(s) cross`)
      return [`  ${name}`, `${list(tables)}${across}`] as const
    }),
    ...(staying.length === 0 ? [] : [['  (stay)', list(staying)] as const]),
  ]
  const problems = [
    ...(crossing.length === 0
      ? []
      : [`${ansi.yellow('⚠')} ${crossing.length} foreign key(s) cross a border and have to go before a cutover`]),
    ...(withoutPrimaryKey.length === 0
      ? []
      : [`${ansi.yellow('⚠')} without a primary key, so not to be synced: ${list(withoutPrimaryKey)}`]),
  ]
  return [
    `${ansi.green('✔')} wrote ${files.join(', ')}`,
    `${services.length} service(s), the easiest to move first:`,
    keyValues(pairs, ansi),
    ...problems,
  ].join('\n')
}
