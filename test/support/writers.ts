// Writers whose every write can be recognised afterwards: through the router and past it, straight into the monolith.
import pg from 'pg'
import { FULL } from './full.ts'

/** Users whose points count acknowledged writes; nobody else touches them. */
export const ROUTED = [1, 2, 3, 4, 5, 6]
export const DIRECT = [7, 8]
/** written through the router and past it */
export const SHARED = [9]

export interface Tally {
  acknowledged: number
  /** surely not carried out */
  refused: number
  /** answered 5xx: refused by a gate or, when a server was interrupted, perhaps carried out */
  failed: number
  /** no answer: nobody knows */
  unknown: number
}

export interface Failure {
  readonly at: number
  readonly by: 'routed' | 'direct'
  /** the router's URL; null for a direct write */
  readonly via: string | null
  readonly reason: string
}

/** What was acknowledged, per user and per new e-mail address. */
export class Ledger {
  readonly points = new Map<number, Tally>()
  readonly created = new Set<string>()
  readonly languages = new Map<number, { settled: string; maybe: string[] }>()
  readonly failures: Failure[] = []
  /** longest time that a direct write took, milliseconds */
  slowestDirect = 0
  /** the same of statements that wait for nobody: what this machine adds just now */
  slowestIdle = 0
  /** times of acknowledged direct writes */
  readonly directAt: number[] = []
  /** times of acknowledged writes through a router */
  readonly routedAt: number[] = []

  of(user: number): Tally {
    let tally = this.points.get(user)
    if (tally === undefined) this.points.set(user, (tally = { acknowledged: 0, refused: 0, failed: 0, unknown: 0 }))
    return tally
  }

  get acknowledged(): number {
    return [...this.points.values()].reduce((sum, tally) => sum + tally.acknowledged, this.created.size)
  }

  failed(via: string | null, reason: string): void {
    this.failures.push({ at: performance.now(), by: via === null ? 'direct' : 'routed', via, reason })
  }
}

// kills and chaos have a full size of their own
const SOAK = FULL || process.env.MIGRATE_KILLS !== undefined || process.env.MIGRATE_CHAOS !== undefined
/** Milliseconds between two writes of one writer: at full size as dense as the processors allow, else for tests in pairs. */
const PACE = SOAK ? 15 : 60

export interface WritersOptions {
  readonly router: (user: number) => string
  readonly monolith: string
}

/** Writers that run until they are told to rest. */
export class Writers {
  readonly ledger = new Ledger()
  readonly #options: WritersOptions
  #running: Promise<void>[] = []
  #stop = false
  #created = 0

  constructor(options: WritersOptions) {
    this.#options = options
  }

  go(): void {
    if (this.#running.length > 0) return
    this.#stop = false
    this.#running = [...[...ROUTED, ...SHARED].map((user) => this.#loop((n) => this.#routed(user, n))), this.#direct()]
  }

  /** Resolves when every write has its answer. */
  async rest(): Promise<void> {
    this.#stop = true
    await Promise.all(this.#running)
    this.#running = []
  }

  async #loop(write: (n: number) => Promise<void>): Promise<void> {
    for (let n = 0; !this.#stop; n++) {
      await write(n)
      await new Promise((resolve) => setTimeout(resolve, PACE))
    }
  }

  async #routed(user: number, n: number): Promise<void> {
    const tally = this.ledger.of(user)
    const status = await this.#send(user, 'POST', `/users/${user}/points`, { add: 1 })
    if (status === 200) {
      tally.acknowledged++
      this.ledger.routedAt.push(performance.now())
    } else if (status === null) tally.unknown++
    else if (status < 500) tally.refused++
    else tally.failed++
    if (n % 7 === 3) await this.#language(user)
    if (n % 11 === 5) await this.#create(user)
  }

  async #language(user: number): Promise<void> {
    const value = `l${++this.#created}`
    const status = await this.#send(user, 'PUT', `/users/${user}/preferences/language`, { value })
    const known = this.ledger.languages.get(user) ?? { settled: '', maybe: [] }
    if (status === 200) this.ledger.languages.set(user, { settled: value, maybe: [] })
    else this.ledger.languages.set(user, { ...known, maybe: [...known.maybe, value] })
  }

  async #create(user: number): Promise<void> {
    const email = `routed-${process.pid}-${++this.#created}@example.com`
    const status = await this.#send(user, 'POST', '/users', { email, name: email })
    if (status === 201) this.ledger.created.add(email)
  }

  async #send(user: number, method: string, path: string, body: object): Promise<number | null> {
    const router = this.#options.router(user)
    try {
      const response = await fetch(`${router}${path}`, {
        method,
        headers: { 'content-type': 'application/json', 'x-user-id': String(user) },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(30_000),
      })
      const text = await response.text()
      if (!response.ok) this.ledger.failed(router, `${method} ${path}: ${response.status} ${text}`)
      return response.status
    } catch (error) {
      this.ledger.failed(router, `${method} ${path}: ${String((error as Error).cause ?? error)}`)
      return null
    }
  }

  async #direct(): Promise<void> {
    let client: pg.Client | null = null
    await this.#loop(async (n) => {
      client ??= await connected(this.#options.monolith)
      if (client === null) return this.ledger.failed(null, 'no connection')
      const user = [...DIRECT, ...SHARED][n % 3] as number
      const before = performance.now()
      await write(client, 'select 1')
      const started = performance.now()
      this.ledger.slowestIdle = Math.max(this.ledger.slowestIdle, started - before)
      const code = await write(client, 'update users set loyalty_points = loyalty_points + 1 where id = $1', [user])
      const took = performance.now() - started
      this.ledger.slowestDirect = Math.max(this.ledger.slowestDirect, took)
      const tally = this.ledger.of(user)
      if (code === null) {
        tally.acknowledged++
        this.ledger.directAt.push(performance.now())
      } else if (code === '25006') tally.refused++
      else {
        tally.unknown++
        await client.end().catch(() => undefined)
        client = null
      }
      if (code !== null) this.ledger.failed(null, code)
      if (n % 5 === 2 && client !== null) await this.#createDirectly(client)
    })
    await (client as pg.Client | null)?.end()
  }

  async #createDirectly(client: pg.Client): Promise<void> {
    const email = `direct-${process.pid}-${++this.#created}@example.com`
    const code = await write(client, 'insert into users (email, name) values ($1, $1)', [email])
    if (code === null) this.ledger.created.add(email)
  }
}

/** Null when it was done, else the SQLSTATE or what else went wrong. */
export async function write(client: pg.Client, text: string, values: unknown[] = []): Promise<string | null> {
  try {
    await client.query(text, values)
    return null
  } catch (error) {
    return String((error as { code?: string }).code ?? error)
  }
}

async function connected(url: string): Promise<pg.Client | null> {
  const client = new pg.Client({ connectionString: url, application_name: 'direct-writer' })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return client
  } catch {
    // the server is being restarted: the next round tries again
    await new Promise((resolve) => setTimeout(resolve, 50))
    return null
  }
}
