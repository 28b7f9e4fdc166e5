import { asMigrateError, MigrateError } from '../errors.ts'
import { examine, type Examined } from './examine.ts'
import type { Authority, ComparedTable, Conclusion, ReconcilePorts, ReconcileStore, Seeds } from './ports.ts'
import { isMisshapen, rangesBetween } from './ranges.ts'
import { type ServiceReport, reportOf } from './report.ts'
import { type Settled, settle, type Suspect } from './settle.ts'
import { orderWork, passesToBegin, type Work } from './work.ts'

export interface ReconcileOptions {
  readonly service: string
  readonly tables: readonly ComparedTable[]
  readonly ports: ReconcilePorts
  readonly store: ReconcileStore
  readonly seeds: Seeds
  /** nobody writes and no worker is needed */
  readonly offline: boolean
  /** milliseconds; what is not looked at by then is left for the next run */
  readonly budget: number
  /** performance.now() or a clock like it */
  readonly now: () => number
  readonly pause: (milliseconds: number, signal: AbortSignal) => Promise<void>
  readonly signal: AbortSignal
  readonly onRange: (range: RangeProgress) => void
  /** a place where a test ends or freezes this process */
  readonly failpoint: (name: string) => Promise<void>
}

export interface RangeProgress {
  readonly relation: string
  /** of the authority; null when the server refused the statement */
  readonly rows: number | null
  /** the SQLSTATE of that refusal */
  readonly refused: string | null
  /** ranges looked at in this run, of those that it has to look at */
  readonly done: number
  readonly of: number
}

/** Looking again waits for the pipeline, so suspects of several ranges wait together: so many ranges or keys. */
const TOGETHER_RANGES = 16
const TOGETHER_KEYS = 2_000
const KNOWN_PAGE = 5_000
/** After the budget a fence that is already waited for gets so long, milliseconds. */
const LAST_WAIT = 10_000
/** A worker that died is taken over within 15 s, and then says so; seconds. */
const WORKER_SILENCE = 20
const WORKER_FRESH = 5
/** Right after a move the worker takes up its stream; milliseconds. */
const WORKER_PATIENCE = 4_000

/**
 * Compares the tables of a service, range by range, going on where an earlier run stopped. Throws WORKER_MISSING when
 * nothing carries the changes that may be under way, TAKEN_OVER when the authority moves meanwhile.
 */
export async function reconcileService(options: ReconcileOptions): Promise<ServiceReport> {
  return new Run(options, await options.ports.authority()).run()
}

interface Reading {
  readonly rows: number | null
  /** of the authority's log, before the range was read */
  readonly position: bigint
  /** when, by the clock of the options */
  readonly started: number
}

/** A range whose suspects wait to be looked at again. */
interface Waiting {
  readonly work: Work
  readonly examined: Examined & Reading
}

class Run {
  readonly #options: ReconcileOptions
  readonly #authority: Authority
  readonly #tables: ReadonlyMap<string, ComparedTable>
  readonly #relations: readonly string[]
  readonly #started: number
  readonly #counts = { ranges: 0, rows: 0, rechecked: 0, inFlight: 0 }
  #fenced = true
  #waiting: Waiting[] = []

  constructor(options: ReconcileOptions, authority: Authority) {
    this.#options = options
    this.#authority = authority
    this.#tables = new Map(options.tables.map((table) => [table.relation, table]))
    this.#relations = [...this.#tables.keys()]
    this.#started = options.now()
  }

  async run(): Promise<ServiceReport> {
    const { store, seeds, budget, now } = this.#options
    await this.#requireWorker()
    await store.openRun({ ...this.#authority, strict: seeds.length === 2 })
    try {
      const work = await this.#plan()
      await this.#recheckKnown()
      for (const [at, next] of work.entries()) {
        // one range at least, or a budget too small for the start would never get anywhere
        if (at > 0 && now() - this.#started > budget) break
        await this.#look(next, { done: at + 1, of: work.length })
        const suspects = this.#waiting.reduce((sum, { examined }) => sum + examined.suspects.length, 0)
        if (this.#waiting.length >= TOGETHER_RANGES || suspects >= TOGETHER_KEYS) await this.#settleWaiting()
      }
      await this.#settleWaiting()
      return await this.#close()
    } catch (error) {
      // best effort: what ended the run may keep control away as well
      await store.closeRun('failed', asMigrateError(error).code, this.#counts).catch(() => undefined)
      throw error
    }
  }

  /** Ranges for tables that have none that fit, a new pass where the last one is through; then what is left to do. */
  async #plan(): Promise<Work[]> {
    const { store, seeds, signal } = this.#options
    const before = new Map((await store.tables(this.#relations)).map((table) => [table.relation, table]))
    for (const table of this.#tables.values()) {
      const stored = before.get(table.relation)
      const fits = stored?.signature === table.signature && !isMisshapen(stored.ranges, table.rangeRows)
      if (!fits) await store.replan(table.relation, table.signature, rangesBetween(await table.bounds(signal)))
    }
    const { epoch } = this.#authority
    const strict = seeds.length === 2
    const begin = passesToBegin(await store.tables(this.#relations), { epoch, strict })
    if (begin.length > 0) await store.beginPass(begin, epoch, strict)
    return orderWork(await store.tables(this.#relations))
  }

  /** Differences that are known are looked at first: a repair shows at once. */
  async #recheckKnown(): Promise<void> {
    const { store, now, budget } = this.#options
    for (const relation of this.#relations) {
      let page = await store.knownDrift(relation, null, KNOWN_PAGE)
      while (page.length > 0 && now() - this.#started <= budget) {
        await this.#settle(page)
        page = await store.knownDrift(relation, page.at(-1)?.key ?? null, KNOWN_PAGE)
      }
    }
  }

  async #look(work: Work, progress: { done: number; of: number }): Promise<void> {
    const { ports, signal, seeds, onRange, now } = this.#options
    signal.throwIfAborted()
    const { relation, range } = work
    const started = now()
    const position = await ports.position()
    let refused: string | null = null
    const examined = await examine(this.#table(relation), range, seeds).catch((error: unknown) => {
      const { code, context } = asMigrateError(error)
      if (code !== 'DATABASE_STATEMENT') throw error
      // it took too long, say; the next range may do better
      refused = String(context.sqlstate)
      return null
    })
    onRange({ relation, rows: examined?.rows ?? null, refused, ...progress })
    if (examined === null) return await this.#conclude(work, 'failed', { rows: null, position, started })
    this.#counts.ranges += 1
    this.#counts.rows += examined.rows
    const result = { ...examined, position, started }
    if (examined.suspects.length > 0) this.#waiting.push({ work, examined: result })
    else await this.#conclude(work, 'verified', result)
  }

  async #settleWaiting(): Promise<void> {
    const waiting = this.#waiting
    this.#waiting = []
    if (waiting.length === 0) return
    const suspects = waiting.flatMap(({ work, examined }) =>
      examined.suspects.map((key) => ({ relation: work.relation, key })),
    )
    const { confirmed, inFlight } = await this.#settle(suspects)
    const [drifted, open] = [namesOf(confirmed), namesOf(inFlight)]
    for (const { work, examined } of waiting) {
      const has = (names: Set<string>): boolean =>
        examined.suspects.some((key) => names.has(nameOf({ relation: work.relation, key })))
      const state = has(drifted) ? 'drift' : has(open) || examined.truncated ? 'unsettled' : 'verified'
      await this.#conclude(work, state, examined)
    }
  }

  async #settle(suspects: readonly Suspect[]): Promise<Settled> {
    const { store, seeds } = this.#options
    const settled = await settle(suspects, { tables: this.#tables, seeds, passFence: () => this.#passFence() })
    await this.#requireAuthority()
    await store.noteDrift(await this.#withColumns(settled))
    for (const relation of this.#relations) {
      const cleared = settled.cleared.filter((suspect) => suspect.relation === relation).map(({ key }) => key)
      if (cleared.length > 0) await store.clearDrift(relation, cleared)
    }
    this.#counts.rechecked += suspects.length
    this.#counts.inFlight += settled.inFlight.length
    return settled
  }

  async #withColumns({ confirmed }: Settled) {
    const drift = confirmed.map((found) => ({ ...found, columns: [] as string[] }))
    for (const table of this.#tables.values()) {
      const mine = drift.filter(({ relation, kind }) => relation === table.relation && kind === 'different')
      if (mine.length === 0) continue
      const keys = mine.map(({ key }) => key)
      const seed = this.#options.seeds[0]
      const [left, right] = await Promise.all([
        table.authority.columnHashes(keys, seed),
        table.copy.columnHashes(keys, seed),
      ])
      for (const [at, found] of mine.entries()) {
        const [mineOf, theirs] = [left[at], right[at]]
        if (mineOf == null || theirs == null) continue
        found.columns = table.columns.filter((_, i) => mineOf[i] !== theirs[i])
      }
    }
    return drift
  }

  async #conclude({ relation, range }: Work, state: Conclusion['state'], reading: Reading): Promise<void> {
    const { store, now, failpoint } = this.#options
    const { rows, position, started } = reading
    const { number } = range
    await store.conclude({ relation, number, state, rows, position, age: now() - started }, this.#authority.epoch)
    await failpoint('reconcile.range.after')
  }

  /** Waits until the copy holds what is committed now; false when the time is over. */
  async #passFence(): Promise<boolean> {
    const { ports, offline, service, signal, now, budget, pause } = this.#options
    if (offline && !this.#fenced) return true
    const fence = await ports.fence()
    const giveUp = Math.max(this.#started + budget, now() + LAST_WAIT)
    let asked = now()
    for (;;) {
      const state = await ports.passed(fence)
      if (state === 'passed') return true
      if (state === 'moved') throw moved(service)
      if (now() > giveUp) return false
      if (now() - asked > 1_000) {
        asked = now()
        const age = await ports.workerAge()
        if (age === null || age > WORKER_SILENCE) throw new MigrateError('WORKER_MISSING', { service })
      }
      await pause(20, signal)
    }
  }

  async #requireWorker(): Promise<void> {
    const { ports, offline, service, now, pause, signal } = this.#options
    const giveUp = now() + WORKER_PATIENCE
    for (;;) {
      const age = await ports.workerAge()
      this.#fenced = age !== null && age <= WORKER_FRESH
      if (this.#fenced || offline) return
      if (now() > giveUp) throw new MigrateError('WORKER_MISSING', { service })
      await pause(100, signal)
    }
  }

  /** What was read belongs together only under one authority. */
  async #requireAuthority(): Promise<void> {
    const { side, epoch } = await this.#options.ports.authority()
    if (side !== this.#authority.side || epoch !== this.#authority.epoch) throw moved(this.#options.service)
  }

  async #close(): Promise<ServiceReport> {
    const { store, service, now } = this.#options
    await this.#requireAuthority()
    const standing = await store.standing(this.#relations, this.#authority.epoch)
    const report = await reportOf({
      ...{ service, authority: this.#authority, counts: this.#counts, standing, store },
      tables: await store.tables(this.#relations),
      seconds: (now() - this.#started) / 1_000,
    })
    await store.closeRun(report.outcome, '', this.#counts)
    return report
  }

  #table(relation: string): ComparedTable {
    const table = this.#tables.get(relation)
    if (table === undefined) throw new MigrateError('INTERNAL', { reason: `no table ${relation}` })
    return table
  }
}

function moved(service: string): MigrateError {
  return new MigrateError('TAKEN_OVER', { what: `the authority of ${service}` })
}

function namesOf(suspects: readonly Suspect[]): Set<string> {
  return new Set(suspects.map(nameOf))
}

function nameOf({ relation, key }: Suspect): string {
  return JSON.stringify([relation, key])
}
