import { DEFAULT_MEANINGS, DEFAULTS } from '../../src/config/defaults.ts'
import { alternatives, configJsonSchema, type JsonSchema } from '../../src/config/json-schema.ts'

/** docs/reference/config.md */
export function configPage(): string {
  return `# Configuration

<!-- Generated from src/config by \`npm run docs\`. -->

\`migrate.yaml\`, or the file named with \`--config\`. \`fixtures/config/shop.yaml\` is an example with every key.
\`migrate config validate\` checks a file without contacting anything; \`migrate config schema\` prints the JSON Schema for
editors. An unknown key is an error.

Values are filled in after the YAML is parsed, so a value can never become YAML:

- \`\${NAME}\` is the variable NAME of the environment or of \`--env-file\`; it must be set.
- \`\${NAME:-value}\` falls back to \`value\` when NAME is unset or empty. A key whose value ends up empty counts as not given.
- \`{file: PATH}\` is the content of a file without its last line break; PATH is relative to the configuration's folder.
- \`$\${\` is a literal \`\${\`.

## Keys

| key | type | default | meaning |
|---|---|---|---|
${rows('', configJsonSchema()).join('\n')}

A table belongs to one service. A sticky key \`path:NAME\` needs a segment \`:NAME\` in the path of its route.

## Defaults

The numbers that \`migrate\` works with. The file can change those that are keys above, no others yet. Those of commands that do not exist yet are what
these will begin with.

| default | value | meaning |
|---|---|---|
${Object.entries(DEFAULTS)
  .map(([name, value]) => `| ${name} | ${measured(name, value)} | ${DEFAULT_MEANINGS[name as keyof typeof DEFAULTS]} |`)
  .join('\n')}
`
}

function rows(path: string, schema: JsonSchema): string[] {
  return alternatives(schema).flatMap((variant) => {
    const named = Object.entries(variant.properties ?? {}).flatMap(([key, property]) => {
      const full = path === '' ? key : `${path}.${key}`
      const row = `| \`${full}\` | ${type(property)} | ${fallback(variant, key, property)} | ${property.description ?? ''} |`
      return [row, ...rows(full, property)]
    })
    const any = variant.additionalProperties || undefined
    const each = [
      ...(any === undefined ? [] : rows(`${path}.NAME`, any)),
      ...(variant.items === undefined ? [] : rows(`${path}[]`, variant.items)),
    ]
    return [...named, ...each]
  })
}

function type(schema: JsonSchema): string {
  return [
    ...new Set(
      alternatives(schema).map((variant) => (variant.const === undefined ? named(variant) : `\`${variant.const}\``)),
    ),
  ].join(' or ')
}

function named({ type: name, items }: JsonSchema): string {
  if (name === 'object') return 'map'
  if (name === 'array') return items === undefined ? 'list' : `list of ${type(items)}s`
  return name === 'string' ? 'text' : (name ?? 'any')
}

function fallback(parent: JsonSchema, key: string, { default: value }: JsonSchema): string {
  if (value !== undefined) return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``
  return parent.required?.includes(key) ? '**required**' : '–'
}

function measured(name: string, value: number | string): string {
  if (typeof value === 'string') return `\`${value}\``
  if (name.endsWith('Ms')) return scaled(value, DURATIONS)
  if (name.endsWith('Bytes')) return scaled(value, SIZES)
  return name.endsWith('Ratio') ? `${value * 100} %` : value.toLocaleString('en')
}

const DURATIONS: readonly (readonly [number, string])[] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
  [1, 'ms'],
]
const SIZES: readonly (readonly [number, string])[] = [
  [1024 ** 3, 'GiB'],
  [1024 ** 2, 'MiB'],
  [1, 'bytes'],
]

/** In the largest unit that gives a whole number. */
function scaled(value: number, units: readonly (readonly [number, string])[]): string {
  const [size, unit] = units.find(([step]) => value % step === 0) ?? [1, '']
  return `${value / size} ${unit}`
}
