import { MigrateError } from '../errors.ts'
import type { Direction } from '../model/progress.ts'
import type { RowKey } from './ports.ts'
import { type RunContext, waitFor } from './run.ts'

/** What is left may take so long to compare while writes are stopped, milliseconds: more keys are touched until then. */
const STOPPED_MS = 100
/** Assumed until it has been measured, milliseconds. */
const PER_KEY = 0.1
const ROUNDS = 6
/** A grace, a slow machine and some lag. */
const CATCH_UP = 15_000

/**
 * One full comparison, then the keys that differed or were touched since, again and again until the rest takes little.
 * `direction` is the one that carries the changes now. Returns the keys that still have to be looked at when writes
 * have stopped. Throws DRIFT_FOUND for rows that differ although nobody touches them.
 */
export async function verifyAll(context: RunContext, direction: Direction): Promise<RowKey[]> {
  const { ports, run } = context
  let suspects = await ports.compareAll()
  let perKey = PER_KEY
  for (let round = 1; ; round++) {
    // what had changed before the comparison is noted as touched once it has been applied
    await caughtUp(context, direction)
    const touched = await ports.takeTouched(run)
    const untouched = without(suspects, touched)
    const still = await settle(context, direction, untouched)
    if (still.drift.length > 0) throw drift(context, still.drift)
    suspects = union(touched, still.open)
    if (suspects.length * perKey <= STOPPED_MS || round === ROUNDS) return suspects
    const from = performance.now()
    const count = suspects.length
    suspects = await ports.compareKeys(suspects)
    perKey = (performance.now() - from) / count
  }
}

/** With writes stopped and both pipelines drained: any difference is real. */
export async function verifyTouched(context: RunContext, carried: readonly RowKey[]): Promise<object> {
  const rows = union(carried, await context.ports.takeTouched(context.run))
  const different = await context.ports.compareKeys(rows)
  if (different.length > 0) throw drift(context, different)
  return { keys: rows.length }
}

interface Settled {
  readonly drift: RowKey[]
  readonly open: RowKey[]
}

/** Looks again at rows that nobody seems to have touched. */
async function settle(context: RunContext, direction: Direction, rows: RowKey[]): Promise<Settled> {
  const { ports, run } = context
  const different = rows.length === 0 ? [] : await ports.compareKeys(rows)
  if (different.length === 0) return { drift: [], open: [] }
  await caughtUp(context, direction)
  const touched = await ports.takeTouched(run)
  const drifted = without(different, touched)
  return { drift: drifted.length === 0 ? [] : await ports.compareKeys(drifted), open: touched }
}

/**
 * Everything that was committed before this call has gone through the sink, and its keys are noted; while the monolith
 * has the authority also what second legs have done, and no row is left that only they have made. By token, not by the
 * position that readers go by: under load that one stays behind the keys whose newest change is always still held.
 */
async function caughtUp(context: RunContext, direction: Direction): Promise<void> {
  const { ports, run } = context
  const mark = `verify-${performance.now()}`
  const tokens = new Map([
    [direction, await ports.emitToken(direction === 'forward' ? 'monolith' : 'service', run, mark)],
  ])
  if (direction === 'forward') tokens.set('reverse', await ports.emitToken('service', run, mark))
  const seen = async () => {
    for (const [way, token] of tokens) if ((await ports.tokenSeen(way)) !== token) return null
    return true
  }
  await waitFor(context, 'verify-all', CATCH_UP, seen, { every: 25 })
}

function drift(context: RunContext, rows: readonly RowKey[]): MigrateError {
  return new MigrateError('DRIFT_FOUND', {
    service: context.service,
    count: rows.length,
    tables: [...new Set(rows.map((row) => row.table))].join(', '),
  })
}

function union(a: readonly RowKey[], b: readonly RowKey[]): RowKey[] {
  return [...new Map([...a, ...b].map((row) => [nameOf(row), row])).values()]
}

function without(a: readonly RowKey[], b: readonly RowKey[]): RowKey[] {
  const names = new Set(b.map(nameOf))
  return a.filter((row) => !names.has(nameOf(row)))
}

function nameOf(row: RowKey): string {
  return `${row.table} ${JSON.stringify(row.key.map((value) => (Buffer.isBuffer(value) ? value.toString('hex') : value)))}`
}
