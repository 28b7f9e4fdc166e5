// Starts every server that tests and demo use, prints where they are, and keeps them until ^C: docs/how-to/servers.md.
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { cacheFolder } from '../src/config/cache-folder.ts'
import { startKafka } from '../fixtures/servers/kafka.ts'
import { isLeftOut } from '../fixtures/servers/left-out.ts'
import { startMongo } from '../fixtures/servers/mongodb.ts'
import { startPostgres } from '../fixtures/servers/postgres.ts'
import type { PostgresVersion } from '../fixtures/servers/postgres-binaries.ts'
import { startValkey } from '../fixtures/servers/valkey.ts'
import { watch } from '../fixtures/servers/watch.ts'
import { asMigrateError, EXIT, type MigrateError } from '../src/errors.ts'

interface Running extends AsyncDisposable {
  readonly url: string
  readonly version: string
  readonly pid: number | null
  readonly folder: string | null
  readonly log: string | null
}

interface Listed {
  readonly name: string
  /** only the system's administrator can bring it: a missing one is no failure, not even with CI=true */
  readonly system?: true
  start(log: string): Promise<Running>
}

const SERVERS: readonly Listed[] = [
  { name: 'postgres-18', start: (log) => postgres('18', log) },
  { name: 'postgres-17', start: (log) => postgres('17', log) },
  { name: 'postgres-16', start: (log) => postgres('16', log) },
  { name: 'postgres-15', system: true, start: (log) => postgres('15', log) },
  { name: 'valkey', start: (log) => startValkey({ name: 'valkey', log }) },
  { name: 'redis', system: true, start: (log) => startValkey({ name: 'redis', flavour: 'redis', log }) },
  { name: 'kafka', start: (log) => startKafka({ name: 'kafka', log }) },
  { name: 'mongodb', start: (log) => startMongo({ name: 'mongodb', log }) },
]

process.exitCode = await main()

async function main(): Promise<number> {
  const asked = readArguments()
  if (asked === null || asked.values.help) {
    const say = asked === null ? console.error : console.log
    say(`usage: npm run servers -- [--once] [--json] [${SERVERS.map(({ name }) => name).join(' | ')}]…`)
    return asked === null ? EXIT.usage : EXIT.ok
  }
  const { values, positionals } = asked
  const unknown = positionals.filter((name) => SERVERS.every((server) => server.name !== name))
  if (unknown.length > 0) {
    console.error(`unknown: ${unknown.join(', ')}; there are: ${SERVERS.map(({ name }) => name).join(', ')}`)
    return EXIT.usage
  }
  const wanted = SERVERS.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
  const { signal, forget } = firstSignal()
  const logs = await mkdtemp(join(tmpdir(), 'migrate-servers-'))
  const watching = watch({ folders: [logs], signals: [], group: false })
  console.error(`Starting ${wanted.length} servers. What is not in ${cacheFolder()} yet is installed there: a minute.`)

  const started = performance.now()
  const outcomes = await Promise.race([Promise.all(wanted.map((server) => start(server, logs))), signal])
  // The watcher stops and removes whatever has been started so far.
  if (typeof outcomes === 'string') process.exit(outcomes === 'SIGINT' ? EXIT.interrupted : EXIT.terminated)
  report(outcomes, { json: values.json, logs, seconds: seconds(started) })
  const failed = outcomes.filter((outcome) => outcome.how === 'failed')
  if (failed.length === 0 && !values.once) await signal

  const up = outcomes.filter((outcome) => outcome.how === 'up')
  await Promise.all(up.map(({ server }) => server[Symbol.asyncDispose]()))
  await rm(logs, { recursive: true })
  await watching.release()
  forget()
  return failed[0]?.error.exit ?? EXIT.ok
}

/** Null: there is an option that is none. */
function readArguments() {
  const flag = { type: 'boolean', default: false } as const
  try {
    return parseArgs({ allowPositionals: true, options: { once: flag, json: flag, help: { ...flag, short: 'h' } } })
  } catch {
    return null
  }
}

/** Resolves with the first signal to stop; under npm, which does not pass on its own death, also with that. */
function firstSignal(): { signal: Promise<NodeJS.Signals>; forget: () => void } {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => resolve(name))
  const underNpm = process.env.npm_lifecycle_event === 'servers'
  const before = ancestors()
  // Also what keeps this process there: servers and watcher do not.
  const looking = setInterval(() => underNpm && ancestors() !== before && resolve('SIGTERM'), 500)
  return { signal: promise, forget: () => clearInterval(looking) }
}

/** Our parent and its parent: npm, and the shell that it starts us in. The latter only where there is /proc. */
function ancestors(): string {
  const status = `/proc/${process.ppid}/status`
  const above = existsSync(status) ? /^PPid:.*/m.exec(readFileSync(status, 'utf8')) : null
  return `${process.ppid} ${above?.[0] ?? ''}`
}

type Outcome =
  | { readonly name: string; readonly how: 'up'; readonly server: Running; readonly seconds: number }
  | { readonly name: string; readonly how: 'left out'; readonly error: MigrateError }
  | { readonly name: string; readonly how: 'failed'; readonly error: MigrateError }

async function start({ name, system, start: startServer }: Listed, logs: string): Promise<Outcome> {
  const started = performance.now()
  try {
    const server = await startServer(join(logs, `${name}.log`))
    return { name, how: 'up', server, seconds: seconds(started) }
  } catch (error) {
    const missing = isLeftOut(error) && (system === true || process.env.CI !== 'true')
    return { name, how: missing ? 'left out' : 'failed', error: asMigrateError(error) }
  }
}

async function postgres(version: PostgresVersion, log: string): Promise<Running> {
  const server = await startPostgres({ name: `postgres-${version}`, version, log })
  const url = server.url('postgres')
  const client = new pg.Client({ connectionString: url, application_name: 'servers' })
  await client.connect()
  const { rows } = await client.query<{ version: string }>("select split_part(version(), ' ', 2) as version")
  await client.end()
  const { pid, folder } = server
  return {
    url,
    version: rows[0]?.version ?? version,
    pid,
    folder,
    log,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

interface Frame {
  readonly json: boolean
  readonly logs: string
  readonly seconds: number
}

function report(outcomes: readonly Outcome[], frame: Frame): void {
  const up = outcomes.filter((outcome) => outcome.how === 'up')
  const rest = outcomes.filter((outcome) => outcome.how !== 'up')
  const rows = up.map(({ name, server, seconds: took }) => {
    const { version, url, log, pid, folder } = server
    return { name, version, url, log, pid, folder, seconds: took }
  })
  if (frame.json) {
    const others = rest.map(({ name, how, error }) => ({ name, how, reason: error.message }))
    console.log(JSON.stringify({ pid: process.pid, logs: frame.logs, seconds: frame.seconds, servers: rows, others }))
    return
  }
  const cells = rows.map((row) => [row.name, row.version, row.url, row.log ?? '-', `${row.seconds.toFixed(1)} s`])
  for (const line of aligned([['name', 'version', 'url', 'log', 'ready after'], ...cells])) console.log(line)
  console.log(`${up.length} up in ${frame.seconds.toFixed(1)} s`)
  for (const { how, name, error } of rest)
    console.log(`${how.toUpperCase()}: ${name}: ${error.message} (${error.hint})`)
}

function aligned(table: readonly (readonly string[])[]): string[] {
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)))
  return table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

function seconds(since: number): number {
  return Math.round((performance.now() - since) / 10) / 100
}
