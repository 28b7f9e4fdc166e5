import type { Described, Origin } from '../config/describe.ts'
import { EXIT } from '../errors.ts'
import { keyValues, mark, plain, table } from '../ui/text.ts'
import { defineCommand, type GroupDefinition } from './command.ts'

const validate = defineCommand({
  name: 'validate',
  summary: 'Check the configuration without contacting anything',
  examples: [
    'migrate config validate',
    'migrate config validate -c shop.yaml --env-file .env',
    'migrate config validate --json',
  ],
  async run({ output, global, loadConfig }) {
    const config = await loadConfig()
    const services = Object.entries(config.services).map(([name, service]) => ({
      name,
      tables: Object.keys(service.tables),
      stores: service.stores.map((store) => store.kind),
      routes: service.routes.map((route) => route.path),
    }))
    output.result(
      {
        schema: 'migrate.config-validate/1',
        status: 'ok',
        data: { path: global.config, project: config.project, services },
      },
      (ansi) =>
        [
          `${ansi.green('✔')} ${global.config} is valid: project ${config.project}, ${services.length} service(s)`,
          keyValues(
            services.map(({ name, tables, stores }) => [`  ${name}`, `${tables.join(', ')} → ${stores.join(', ')}`]),
            ansi,
          ),
        ].join('\n'),
    )
  },
})

const schema = defineCommand({
  name: 'schema',
  summary: 'Print the JSON Schema of the configuration, for editors',
  examples: [
    'migrate config schema > migrate.schema.json',
    'migrate config schema | jq .properties',
    'migrate config schema --json',
  ],
  async run({ output }) {
    const { configJsonSchema } = await import('../config/json-schema.ts')
    const data = configJsonSchema()
    output.result({ schema: 'migrate.config-schema/1', status: 'ok', data }, () => JSON.stringify(data, null, 2))
  },
})

const show = defineCommand<{ origin?: true }>({
  name: 'show',
  summary: 'Print the configuration that is in force, with secrets masked',
  examples: ['migrate config show', 'migrate config show --origin --env-file .env', 'migrate config show --json'],
  configure: (command) =>
    command.option('--origin', 'say where each value comes from: a line of the file, a variable, a file, the default'),
  async run({ output, global, env }, _args, { origin }) {
    const { describeConfig } = await import('../config/describe.ts')
    const { config: path, envFile } = global
    const values = await describeConfig({ path, env, ...(envFile !== undefined && { envFile }) })
    const shown = origin === true ? values : values.map(({ key, value }) => ({ key, value }))
    output.result({ schema: 'migrate.config-show/1', status: 'ok', data: { path, values: shown } }, (ansi) =>
      origin === true
        ? table([{ title: 'key' }, { title: 'value' }, { title: 'from' }], values.map(row), ansi)
        : keyValues(
            values.map(({ key, value }) => [key, plain(value)]),
            ansi,
          ),
    )
  },
})

function row({ key, value, origin }: Described): string[] {
  return [key, plain(value), originText(origin)]
}

function originText(origin: Origin): string {
  switch (origin.kind) {
    case 'default':
      return 'default'
    case 'written':
      return origin.at
    case 'file':
      return `file ${origin.file}, ${origin.at}`
    case 'variable': {
      const names = origin.variables.map(({ name, from }) =>
        from === 'unset'
          ? `default beside ${name}`
          : from === 'env-file'
            ? `${name} in --env-file`
            : `variable ${name}`,
      )
      return `${names.join(', ')}, ${origin.at}`
    }
  }
}

const testAlerts = defineCommand({
  name: 'test-alerts',
  summary: 'Send a test to every target of the alerts',
  examples: [
    'migrate config test-alerts',
    'migrate config test-alerts --env-file .env',
    'migrate config test-alerts --json',
  ],
  async run({ output, signal, loadConfig }) {
    const { testAlerts: test } = await import('../app/alerts.ts')
    const tested = await test(await loadConfig(), signal)
    const failed = tested.flatMap(({ error }) => (error === null ? [] : [error]))
    const targets = tested.map(({ target, error }) => ({ target, error: error?.code ?? null }))
    output.result(
      {
        schema: 'migrate.config-test-alerts/1',
        status: failed.length === 0 ? 'ok' : 'error',
        data: { targets },
        issues: failed.map(({ code, message, hint }) => ({ code, severity: 'error', message, hint })),
      },
      (ansi) =>
        tested.length === 0
          ? 'the configuration names no target: add `alerts`, see docs/how-to/alerts.md'
          : tested
              .map(({ target, error }) =>
                error === null
                  ? mark('ok', `${plain(target)} took it`, ansi)
                  : `${mark('failed', error.code, ansi)}  ${plain(error.message)}`,
              )
              .join('\n'),
    )
    if (failed.length > 0) output.exit(EXIT.unavailable)
  },
})

export const config: GroupDefinition = {
  name: 'config',
  summary: 'Check or show the configuration, or describe it to an editor',
  examples: ['migrate config validate', 'migrate config show --origin', 'migrate config schema'],
  subcommands: [validate, show, schema, testAlerts],
}
