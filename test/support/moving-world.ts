// A table on two sides with a log and a pipeline between them, all in memory: what reconcile may meet while writes flow.
import type {
  Bucket,
  ComparedTable,
  Conclusion,
  Drift,
  KeyRange,
  KeyText,
  KnownDrift,
  ReconcilePorts,
  ReconcileStore,
  StoredRange,
  StoredTable,
  TableSide,
} from '../../src/reconcile/ports.ts'
import { reconcileService } from '../../src/reconcile/run.ts'

const RELATION = 'public.t'

interface Row {
  readonly value: string
  readonly version: number
}

/** What happens between two statements of a comparison. */
export type Event =
  | { readonly kind: 'write'; readonly key: number; readonly value: string | null }
  /** the pipeline makes so many changes durable */
  | { readonly kind: 'apply'; readonly count: number }
  /** a second leg brings the newest change of this key that is still to be applied, not quite as the authority has it */
  | { readonly kind: 'leg'; readonly key: number }

export class MovingWorld {
  readonly authority = new Map<number, Row>()
  readonly copy = new Map<number, Row>()
  /** keys that somebody else has spoilt in the copy */
  readonly spoilt = new Set<number>()
  readonly looked: string[] = []
  #log: { key: number; value: string | null }[] = []
  #applied = 0
  #version = 0
  #events: Event[] = []

  /** Rows that both sides have. */
  seed(keys: readonly number[]): void {
    for (const key of keys) for (const side of [this.authority, this.copy]) this.#put(side, key, `seed ${key}`)
  }

  spoil(key: number, value: string | null): void {
    this.#put(this.copy, key, value)
    this.spoilt.add(key)
  }

  /** From now on one of these happens before each statement; then nothing more. */
  plan(events: readonly Event[]): void {
    this.#events = [...events]
  }

  /** Something happens at once. */
  now(...events: readonly Event[]): void {
    for (const event of events) this.#do(event)
  }

  settle(): void {
    this.#events = []
    this.#apply(this.#log.length)
  }

  /** Keys whose rows are not equal. */
  different(): number[] {
    const keys = new Set([...this.authority.keys(), ...this.copy.keys()])
    return [...keys]
      .filter((key) => this.authority.get(key)?.value !== this.copy.get(key)?.value)
      .toSorted((a, b) => a - b)
  }

  table(rangeRows: number): ComparedTable {
    return {
      ...{ relation: RELATION, columns: ['value'], signature: 'one', rangeRows },
      bounds: async () => {
        const keys = [...this.authority.keys()].toSorted((a, b) => a - b)
        return keys.filter((_, i) => i > 0 && i % rangeRows === 0).map((key) => [String(key)])
      },
      authority: this.#side(this.authority),
      copy: this.#side(this.copy),
    }
  }

  ports(): ReconcilePorts {
    return {
      authority: async () => ({ side: 'monolith', epoch: 1 }),
      position: async () => BigInt(this.#log.length),
      fence: async () => BigInt(this.#log.length),
      passed: async (fence) => {
        this.#happen()
        if (this.#events.length === 0) this.#apply(1)
        return BigInt(this.#applied) >= fence ? 'passed' : 'waiting'
      },
      workerAge: async () => 0,
    }
  }

  #side(rows: Map<number, Row>): TableSide {
    const inside = ({ lo, hi }: KeyRange): [number, Row][] =>
      [...rows].filter(([key]) => (lo === null || key >= Number(lo[0])) && (hi === null || key < Number(hi[0])))
    return {
      digest: async (range) => {
        this.#happen()
        this.looked.push(JSON.stringify([range.lo, range.hi]))
        const buckets = new Map<number, Bucket>()
        for (const [key, { value }] of inside(range)) {
          const bucket = hash(value) & 3
          const { rows: count, sum } = buckets.get(bucket) ?? { rows: 0, sum: '0' }
          buckets.set(bucket, { bucket, rows: count + 1, sum: String(Number(sum) + hash(`${key} ${value}`)) })
        }
        return [...buckets.values()]
      },
      hashes: async (range, _, buckets) => {
        this.#happen()
        const found = inside(range).filter(([, { value }]) => buckets.includes(hash(value) & 3))
        return found.map(([key, { value }]) => ({ key: [String(key)], hash: value }))
      },
      look: async (keys) => {
        this.#happen()
        return keys.map(([key]) => {
          const row = rows.get(Number(key))
          return row === undefined ? null : { version: String(row.version), hash: row.value }
        })
      },
      columnHashes: async (keys) => keys.map(([key]) => [rows.get(Number(key))?.value ?? null]),
    }
  }

  #happen(): void {
    const event = this.#events.shift()
    if (event !== undefined) this.#do(event)
  }

  #do(event: Event): void {
    if (event.kind === 'apply') return this.#apply(event.count)
    if (event.kind === 'write') {
      if (event.value === null && !this.authority.has(event.key)) return
      this.#put(this.authority, event.key, event.value)
      this.#log.push(event)
      return
    }
    const change = this.#log.slice(this.#applied).findLast(({ key }) => key === event.key)
    if (change !== undefined) this.#put(this.copy, change.key, change.value === null ? null : `${change.value}~`)
  }

  #apply(count: number): void {
    for (const { key, value } of this.#log.slice(this.#applied, this.#applied + count)) this.#put(this.copy, key, value)
    this.#applied = Math.min(this.#log.length, this.#applied + count)
  }

  #put(side: Map<number, Row>, key: number, value: string | null): void {
    if (value === null) side.delete(key)
    else side.set(key, { value, version: ++this.#version })
  }
}

/** The state of reconcile in memory; it outlives a run that is broken off. */
export class MemoryStore implements ReconcileStore {
  readonly concluded: Conclusion[] = []
  readonly drift = new Map<string, Drift>()
  #clock = 0
  #pass = -1
  #ranges: (StoredRange & { readonly at: number })[] = []
  #signature = ''

  async openRun(): Promise<void> {}

  async tables(): Promise<StoredTable[]> {
    if (this.#signature === '') return []
    const ranges = this.#ranges.map((range) => ({
      ...range,
      done: ['verified', 'drift'].includes(range.state) && range.at > this.#pass,
    }))
    const passAge = this.#pass < 0 ? null : this.#clock - this.#pass
    return [{ relation: RELATION, signature: this.#signature, passAge, epoch: 1, strict: false, ranges }]
  }

  async replan(_: string, signature: string, ranges: readonly KeyRange[]): Promise<void> {
    this.#signature = signature
    this.#pass = -1
    this.#ranges = ranges.map((range, number) => ({
      ...{ ...range, number, state: 'open', rows: null, done: false, verifiedAge: null, at: -1 },
    }))
  }

  async beginPass(): Promise<void> {
    this.#pass = ++this.#clock
  }

  async conclude(conclusion: Conclusion): Promise<void> {
    this.concluded.push(conclusion)
    const { number, state, rows } = conclusion
    this.#clock += 1
    this.#ranges = this.#ranges.map((range) =>
      range.number === number ? { ...range, state, rows, at: this.#clock } : range,
    )
  }

  async noteDrift(found: readonly Drift[]): Promise<void> {
    for (const one of found) this.drift.set(one.key.join(), one)
  }

  async clearDrift(_: string, keys: readonly KeyText[]): Promise<void> {
    for (const key of keys) this.drift.delete(key.join())
  }

  async knownDrift(_: string, after: KeyText | null): Promise<KnownDrift[]> {
    return after === null ? [...this.drift.values()].map((one) => ({ ...one, firstSeen: '', lastSeen: '' })) : []
  }

  async standing() {
    const drift = { missing: 0, extra: 0, different: 0 }
    for (const { kind } of this.drift.values()) drift[kind] += 1
    return [{ relation: RELATION, verifiedThrough: null, verifiedAge: null, drift }]
  }

  async closeRun(): Promise<void> {}
}

export function compareWorld(
  world: MovingWorld,
  store: ReconcileStore,
  options: { readonly rangeRows: number; readonly failpoint?: (name: string) => Promise<void> },
) {
  return reconcileService({
    service: 'users',
    tables: [world.table(options.rangeRows)],
    ports: world.ports(),
    store,
    seeds: ['1'],
    offline: false,
    budget: 60_000,
    now: () => performance.now(),
    pause: () => Promise.resolve(),
    signal: new AbortController().signal,
    onRange: () => undefined,
    failpoint: options.failpoint ?? (() => Promise.resolve()),
  })
}

function hash(text: string): number {
  let value = 7
  for (const character of text) value = (value * 31 + character.charCodeAt(0)) % 1_000_003
  return value
}
