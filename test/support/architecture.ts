import { dirname, join } from 'node:path'
import { parseSync } from 'oxc-parser'

/** The parts of src, folders and files, by layer; each imports from lower layers only. As in ARCHITECTURE.md. */
const LAYERS: readonly (readonly string[])[] = [
  ['errors', 'model'],
  ['retry', 'transaction', 'bell', 'group-queue', 'crypto', 'report'],
  ['outbox', 'events'],
  ['sync', 'router', 'dualwrite', 'reconcile', 'analyze', 'saga', 'consumer'],
  ['cutover'],
  ['stores', 'control', 'notify', 'telemetry'],
  ['config', 'ui'],
  ['app', 'index'],
  ['commands'],
  ['cli'],
]

/** Layers up to here declare the ports that drivers implement, so they import no package but what is named here. */
const HIGHEST_PURE_LAYER = 4
const PACKAGES_BELOW: Readonly<Record<string, readonly string[]>> = {
  retry: ['p-retry'],
  router: ['undici', 'xxhash-wasm'],
  dualwrite: ['undici'],
}
const NETWORK = /^node:(http|https|http2|net|tls|dgram|child_process)$/
const SERVES_HTTP = ['router', 'dualwrite']

/** Packages that belong to one place. */
const ONLY_IN: Readonly<Record<string, string>> = {
  'p-retry': 'src/retry.ts',
  kafkajs: 'src/stores/kafka/',
  pg: 'src/stores/',
  'pg-copy-streams': 'src/stores/postgres/',
  'pg-logical-replication': 'src/stores/postgres/',
}

/**
 * Reads the imports of a source tree (path → text) and names every one that the architecture forbids. Finding no edges
 * at all between the parts of src is a violation too: then the reading is broken, not the code clean.
 */
export function violations(files: ReadonlyMap<string, string>): string[] {
  const edges = [...files].flatMap(([path, text]) => importsOf(path, text))
  const inside = edges.filter(
    ({ from, to }) => from.startsWith('src/') && to.startsWith('src/') && part(from) !== part(to),
  )
  return [
    ...(inside.length === 0 ? ['no import between the parts of src was found'] : []),
    ...[...files.keys()]
      .filter((path) => path.startsWith('src/') && layerOf(path) === -1)
      .map((path) => `${path} belongs to no layer`),
    ...inside.flatMap(layering),
    ...edges.flatMap(fixtures),
    ...edges.flatMap(drivers),
    ...[...files].flatMap(([path, text]) => environment(path, text)),
  ]
}

interface Edge {
  readonly from: string
  /** a path in the tree, or the name of a package */
  readonly to: string
  readonly kind: 'static' | 'dynamic' | 'type'
}

function importsOf(from: string, text: string): Edge[] {
  const { module, errors } = parseSync(from, text)
  if (errors.length > 0) throw new Error(`${from} cannot be parsed: ${errors[0]?.message}`)
  const edge = (to: string, kind: Edge['kind']): Edge => ({
    from,
    to: to.startsWith('.') ? join(dirname(from), to) : to,
    kind,
  })
  const statics = module.staticImports.map(({ moduleRequest, entries }) => {
    const typeOnly = entries.length > 0 && entries.every(({ isType }) => isType)
    return edge(moduleRequest.value, typeOnly ? 'type' : 'static')
  })
  const exports = module.staticExports.flatMap(({ entries }) =>
    entries.flatMap(({ moduleRequest, isType }) =>
      moduleRequest === null ? [] : [edge(moduleRequest.value, isType ? 'type' : 'static')],
    ),
  )
  const dynamics = module.dynamicImports.map(({ moduleRequest: { start, end } }) => {
    const literal = /^(['"`])([^$]*)\1$/.exec(text.slice(start, end))?.[2]
    return edge(literal ?? '(computed)', 'dynamic')
  })
  // `import('./x.ts').T` as a type is no import expression to the parser.
  const inTypes = [...text.matchAll(/(?:typeof\s+|[:<|&,(=]\s*)import\(\s*['"]([^'"]+)['"]\s*\)/g)].map((match) =>
    edge(match[1] ?? '', 'type'),
  )
  return [...statics, ...exports, ...dynamics, ...inTypes]
}

function layering({ from, to }: Edge): string[] {
  const [lower, upper] = [layerOf(to), layerOf(from)]
  if (lower === -1 || upper === -1 || lower < upper) return []
  return [`${from} imports ${to}: ${lower > upper ? 'upward' : 'sideways'}, layer ${upper} to ${lower}`]
}

function fixtures({ from, to, kind }: Edge): string[] {
  if (from.startsWith('src/') && to.startsWith('fixtures/')) {
    // its part that prints the verdict needs the verdict's type, which is gone when it runs
    if (from === 'src/commands/demo-verdict.ts' && kind === 'type') return []
    if (from !== 'src/commands/demo.ts') return [`${from} imports ${to}: only src/commands/demo.ts may import fixtures`]
    if (kind === 'static') return [`${from} imports ${to} at its top: fixtures are imported when the demo runs`]
  }
  if (from.startsWith('fixtures/services/') && to.startsWith('src/')) {
    return [`${from} imports ${to}: the services import the package by its name only`]
  }
  return []
}

function drivers({ from, to, kind }: Edge): string[] {
  if (!from.startsWith('src/')) return []
  if (to === '(computed)') return [`${from} imports something that cannot be read: give a literal path`]
  const name = packageOf(to)
  if (name === null) return NETWORK.test(to) ? network(from, to) : []
  const place = ONLY_IN[name]
  if (place !== undefined && !from.startsWith(place)) return [`${from} imports ${name}, which belongs to ${place}`]
  if (/^src\/stores\/[^/]+\/options\.ts$/.test(from) && name !== 'zod') {
    return [`${from} imports ${name}: the options of a store never load its driver`]
  }
  const allowed = PACKAGES_BELOW[part(from)] ?? []
  if (kind === 'type' || layerOf(from) > HIGHEST_PURE_LAYER || allowed.includes(name)) return []
  return [`${from} imports ${name}: features take ports, not drivers`]
}

function network(from: string, to: string): string[] {
  if (layerOf(from) > HIGHEST_PURE_LAYER || SERVES_HTTP.includes(part(from))) return []
  return [`${from} imports ${to}: features take ports, not connections`]
}

function environment(path: string, text: string): string[] {
  if (!path.startsWith('src/') || path.startsWith('src/config/')) return []
  const reads =
    /\bprocess\??\s*\.\s*env\b|\bprocess\s*\[\s*['"`]env\b|\{[^{}]*\benv\b[^{}]*\}\s*=\s*process\b|['"]node:process['"]/.test(
      text,
    )
  return reads ? [`${path} reads the environment: only src/config does`] : []
}

/** `model`, `errors`: the first name below src. A file and the folder of its name (`app.ts`, `app/`) are one part. */
function part(path: string): string {
  return (path.split('/')[1] ?? '').replace(/\.ts$/, '')
}

function layerOf(path: string): number {
  return LAYERS.findIndex((parts) => parts.includes(part(path)))
}

/** `@a/b` of `@a/b/c`; null for a path and for what Node.js brings. */
function packageOf(to: string): string | null {
  if (to.startsWith('node:') || /^(src|fixtures|test|scripts)\//.test(to)) return null
  return /^(@[^/]+\/)?[^/]+/.exec(to)?.[0] ?? null
}
