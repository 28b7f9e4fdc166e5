// An application that changes the tables of a pair in every way there is, at a steady rate, and knows what was committed.
import { once } from 'node:events'
import type pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { pick, seededRandom } from '../../fixtures/load/random.ts'
import { connect } from './pair.ts'
import { ITEMS, KEYS, WRITERS } from './pair-schema.ts'

export interface LoadOptions {
  /** as the application; a server that was restarted is there again */
  readonly url: string
  readonly schema: string
  readonly seed: number
  /** transactions a second, of all writers together; default 200 */
  readonly rate?: number
  /** an earlier load of the same rows that this one goes on from */
  readonly numbersFrom?: readonly Deeds[] | undefined
}

/** What one writer has done; its transactions carry the numbers 1, 2, … */
export interface Deeds {
  next: number
  readonly acknowledged: Set<number>
  /** the connection broke while the commit was under way */
  readonly unknown: Set<number>
}

export class PairLoad {
  readonly deeds: readonly Deeds[]
  readonly #options: LoadOptions
  #started = 0
  #stopping = false
  #writing: Promise<void>[] = []

  constructor(options: LoadOptions) {
    this.#options = options
    this.deeds =
      options.numbersFrom ??
      Array.from({ length: WRITERS }, () => ({ next: 1, acknowledged: new Set<number>(), unknown: new Set<number>() }))
  }

  get committed(): number {
    return this.deeds.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0)
  }

  start(): void {
    this.#stopping = false
    this.#started = performance.now()
    this.#writing = this.deeds.map((deeds, i) => this.#write(i + 1, deeds))
    // the caller hears of it from `stop`
    for (const writing of this.#writing) writing.catch(() => undefined)
  }

  /** Ends after the transactions under way; throws what a statement has failed with. */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#writing)
  }

  async #write(writer: number, deeds: Deeds): Promise<void> {
    const { url, schema, seed, rate = 200 } = this.#options
    const random = seededRandom(seed * 100 + writer + deeds.next)
    let client: pg.Client | null = null
    for (let n = 0; !this.#stopping; n++) {
      // an open loop: who was held up makes up for it
      const due = this.#started + (n * 1_000 * WRITERS) / rate
      if (due > performance.now()) await later(due - performance.now())
      client ??= await open(url, schema)
      // the server is down for a moment
      if (client === null) await later(20)
      else if (!(await transact(client, { writer, deeds, random }))) {
        await client.end().catch(() => undefined)
        client = null
      }
    }
    await client?.end().catch(() => undefined)
  }
}

interface Turn {
  readonly writer: number
  readonly deeds: Deeds
  readonly random: () => number
}

/** One transaction; false = the connection is lost. */
async function transact(client: pg.Client, turn: Turn): Promise<boolean> {
  const { writer, deeds, random } = turn
  const seq = deeds.next++
  let committing = false
  try {
    await client.query(`begin; update counters set n = n + 1 where writer = ${writer};
      insert into ledger values (${writer}, ${seq}, md5('${seq}'))`)
    await pick(DEEDS, random)(client, turn, seq)
    committing = true
    await client.query('commit')
    deeds.acknowledged.add(seq)
    return true
  } catch (error) {
    if (!isLost(error)) throw new Error(`writer ${writer}, transaction ${seq}`, { cause: error })
    if (committing) deeds.unknown.add(seq)
    return false
  }
}

type Deed = (client: pg.Client, turn: Turn, seq: number) => Promise<unknown>

const some: Deed = (client, turn) => client.query(`update items set n = n + 1 where id = ${item(turn)}`)

const several: Deed = (client, turn) =>
  client.query(`update items set n = n + 1 where id in (select id from items where ${own(turn)} order by id
    limit 8 offset ${whole(turn, ITEMS - 8)})`)

const toast: Deed = (client, turn, seq) =>
  client.query(`update items set body = repeat(md5('${seq}'), ${80 + whole(turn, 200)}) where id = ${item(turn)}`)

const changeKey: Deed = (client, turn) =>
  client.query(`update items set id = (select max(id) + 1 from items where ${own(turn)}) where id = ${item(turn)}`)

const swapUnique: Deed = async (client, turn) => {
  const { rows } = await client.query(`select id, code from items where ${own(turn)} order by random() limit 2`)
  const [a, b] = rows as { id: string; code: string }[]
  if (a === undefined || b === undefined) return
  await client.query(`update items set code = 'between' || ${turn.writer} where id = ${a.id};
    update items set code = '${a.code}' where id = ${b.id}; update items set code = '${b.code}' where id = ${a.id}`)
}

const again: Deed = async (client, turn, seq) => {
  const { rows } = await client.query(`delete from items where id = ${item(turn)} returning id, code`)
  const values = `(${rows[0].id}, '${rows[0].code}', 0, ${whole(turn, 2) === 0 ? 'null' : `repeat('${seq} ', 900)`})`
  await client.query(`insert into items values ${values}`)
}

const multi: Deed = (client, turn, seq) => {
  const rows = Array.from({ length: 6 }, () => `(${key(turn)}, 'multi ${seq}')`)
  // one statement may not touch a row twice
  const distinct = [...new Map(rows.map((row) => [row.split(',')[0], row])).values()]
  return client.query(`insert into scratch values ${distinct.join(', ')}
    on conflict (id) do update set v = excluded.v || scratch.id`)
}

const savepoints: Deed = (client, turn, seq) =>
  client.query(`savepoint a; insert into scratch values (${key(turn)}, 'undone') on conflict (id) do update set v = 'undone';
    update items set n = -1 where ${own(turn)}; rollback to a;
    savepoint b; insert into scratch values (${key(turn)}, 'kept ${seq}') on conflict (id) do update set v = excluded.v;
    savepoint c; delete from scratch where id % ${WRITERS} = ${turn.writer % WRITERS} and id % 3 = ${whole(turn, 3)}; rollback to c;
    release b; delete from scratch where id = ${key(turn)}`)

const copy: Deed = async (client, turn, seq) => {
  const stream = client.query(copyFrom('copy loaded (writer, amount, tags) from stdin'))
  const finished = once(stream, 'finish')
  const line = (i: number): string => `${turn.writer}\t${seq}.${i}\t{a,"b ${i}",NULL}\n`
  stream.end(Array.from({ length: 25 }, (_, i) => line(i)).join(''))
  await finished
}

const unload: Deed = (client, { writer }) =>
  client.query(`delete from loaded where id in (select id from loaded where writer = ${writer} order by id limit 30)`)

/** Seldom: the server flushes its log for it, whatever the session has asked for. */
const truncate: Deed = async (client, turn, seq) => {
  if (whole(turn, 12) === 0) await client.query(`truncate scratch`)
  else await multi(client, turn, seq)
}

/** as often as they are listed */
const DEEDS: readonly Deed[] = [
  ...[some, some, some, some, some, some, some, some],
  ...[toast, toast, changeKey, changeKey, swapUnique, again, multi, multi],
  ...[savepoints, savepoints, several, copy, unload, some, toast, changeKey],
  ...[some, some, some, some, some, some, some, truncate],
]

/** The writer's items by their rank: keys change, their number does not. */
function item(turn: Turn): string {
  return `(select id from items where ${own(turn)} order by id limit 1 offset ${whole(turn, ITEMS)})`
}

function own({ writer }: Turn): string {
  return `id between ${writer}::bigint * ${KEYS} and ${writer + 1}::bigint * ${KEYS} - 1`
}

/** Of a row in the table that writers share, each with remainders of its own. */
function key(turn: Turn): number {
  return whole(turn, 60) * WRITERS + (turn.writer % WRITERS)
}

function whole({ random }: Turn, below: number): number {
  return Math.floor(random() * below)
}

async function open(url: string, schema: string): Promise<pg.Client | null> {
  try {
    const client = await connect(url)
    await client.query(`set search_path = ${schema}; set application_name = 'pair load'`)
    return client
  } catch (error) {
    if (!isLost(error)) throw error
    return null
  }
}

/** The server went away or is not there yet: no fault of the statement. */
function isLost(error: unknown): boolean {
  const { code = '', message = '' } = error as { code?: string; message?: string }
  return (
    ['57P01', '57P02', '57P03', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(code) ||
    /Connection terminated|Client has encountered a connection error|not queryable/.test(message)
  )
}

function later(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
