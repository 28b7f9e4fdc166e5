import { keyValues } from '../ui/text.ts'
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

export const config: GroupDefinition = {
  name: 'config',
  summary: 'Check the configuration, or describe it to an editor',
  examples: ['migrate config validate', 'migrate config schema', 'migrate config validate --json'],
  subcommands: [validate, schema],
}
