// Kafka to PostgreSQL and back, everything durable (fsync on): records through `consume` with an inbox, and rows of the
// outbox through `relayOutbox`. `npm run bench:consumer`, with `-- --json` for the last line.
//   --records 100000   of each row
//   --rounds 2         of each row; the best counts
//   --only single      one of single, batch, relay
import { cpus, loadavg, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { type ConsumerOptions, consume, enqueue, event, relayOutbox } from '../src/index.ts'
import { type Messaging, startMessaging } from '../test/support/messaging.ts'
import { printReport, type Row } from './report.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    records: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '2' },
    only: { type: 'string', default: 'single,batch,relay' },
  },
})
const RECORDS = Number(values.records)
const ROUNDS = Number(values.rounds)
const PARTITIONS = 4
const KEYS = 5_000
const events = { Paid: event({ schema: z.object({ order: z.string(), cents: z.number(), note: z.string() }) }) }
const payload = (n: number) => ({ order: `o${n % KEYS}`, cents: n, note: 'x'.repeat(100) })

type Handling = Pick<ConsumerOptions<typeof events>, 'handlers' | 'handleBatch'>

const HANDLINGS: Readonly<Record<'single' | 'batch', Handling>> = {
  single: {
    handlers: {
      async Paid(tx, { data: { order, cents } }) {
        await tx.query('insert into paid (order_id, cents) values ($1, $2)', [order, cents])
      },
    },
  },
  batch: {
    async handleBatch(tx, messages) {
      await tx.query('insert into paid (order_id, cents) select * from unnest($1::text[], $2::int[])', [
        messages.map(({ data }) => data.order),
        messages.map(({ data }) => data.cents),
      ])
    },
  },
}

/** Seconds from the call, joining the group included, until everything is committed. */
async function consumed({ db, kafka }: Messaging, name: string, handling: Handling): Promise<number> {
  await db.query('truncate paid')
  const stop = new AbortController()
  const started = performance.now()
  const consuming = consume({
    ...{ pool: db.pool, kafka, name, topics: ['paid'], events, signal: stop.signal, ...handling },
    onTrouble: (error: Error) => process.stderr.write(`${error.message}\n`),
  } as Parameters<typeof consume<typeof events>>[0])
  const wanted = `select coalesce(sum(next_offset), 0)::float8 as n from eventing.consumer_offset where consumer = $1`
  await reached(async () => ((await db.query<{ n: number }>(wanted, [name]))[0]?.n ?? 0) >= RECORDS)
  const seconds = (performance.now() - started) / 1_000
  stop.abort()
  await consuming
  const [paid] = await db.query<{ n: number; inbox: number }>(
    `select count(*)::int as n, (select count(*)::int from eventing.inbox where consumer = $1) as inbox from paid`,
    [name],
  )
  if (paid?.n !== RECORDS || paid.inbox !== RECORDS) throw new Error(`wrong: ${JSON.stringify(paid)} of ${RECORDS}`)
  return seconds
}

/** Seconds until the outbox, filled before, is in Kafka and empty. */
async function relayed({ db, kafka }: Messaging): Promise<number> {
  for (let from = 0; from < RECORDS; from += 1_000) {
    await enqueue(
      db.pool,
      Array.from({ length: Math.min(1_000, RECORDS - from) }, (_, i) => ({
        ...{ aggregateType: 'relayed', aggregateId: `o${(from + i) % KEYS}`, type: 'Paid', payload: payload(from + i) },
      })),
    )
  }
  let published = 0
  const done = Promise.withResolvers<number>()
  const stop = new AbortController()
  const started = performance.now()
  const relaying = relayOutbox({
    ...{ pool: db.pool, kafka, name: 'bench', signal: stop.signal },
    onTrouble: (error) => process.stderr.write(`${error.message}\n`),
    onPublished(messages) {
      published += messages
      if (published >= RECORDS) done.resolve((performance.now() - started) / 1_000)
    },
  })
  const seconds = await done.promise
  stop.abort()
  await relaying
  return seconds
}

async function reached(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 25))
}

async function best(work: string, goal: number | null, run: (round: number) => Promise<number>): Promise<Row> {
  let ours = 0
  for (let round = 1; round <= ROUNDS; round++) {
    const perSecond = Math.round(RECORDS / (await run(round)))
    process.stderr.write(`round ${round}, ${work}: ${perSecond}/s\n`)
    ours = Math.max(ours, perSecond)
  }
  const pass = goal === null || ours >= goal
  return { ...{ work, unit: '/s', peer: null, peerValue: null, ours, ratio: null, goal, more: true }, pass }
}

const world = await startMessaging('bench-consumer')
if (world === null) throw new Error('there is no Kafka on this machine')
await world.db.query('create table paid (id bigint generated always as identity primary key, order_id text, cents int)')
await world.createTopic('paid', PARTITIONS)
await world.createTopic('outbox.event.relayed', PARTITIONS)
const only = values.only.split(',')
const rows: Row[] = []
if (only.includes('relay')) rows.push(await best('outbox to Kafka', null, () => relayed(world)))
if (only.includes('single') || only.includes('batch')) {
  await world.send(
    'paid',
    Array.from({ length: RECORDS }, (_, n) => ({
      ...{ key: `o${n % KEYS}`, value: JSON.stringify(payload(n)), headers: { id: `${n}`, type: 'Paid' } },
    })),
  )
}
for (const [name, goal] of [
  ['single', null],
  ['batch', 10_000],
] as const) {
  if (!only.includes(name)) continue
  const work = name === 'single' ? 'consume, handler per message' : 'consume, handleBatch'
  rows.push(await best(work, goal, (round) => consumed(world, `${name}-${round}`, HANDLINGS[name])))
}
const load = loadavg()
  .map((n) => n.toFixed(1))
  .join(' ')
const machine = `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, load ${load}`
process.exitCode = printReport({ bench: 'consumer', machine, rows }, values.json)
await world[Symbol.asyncDispose]()
