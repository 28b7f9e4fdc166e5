// Writes a row for each event behind a position until it has caught up: project-events.ts EPOCH TX SEQ
import { event, EventStore, failpoints, subscribe } from '../../../src/index.ts'
import { openPool } from '../../../fixtures/servers/pool.ts'

const pool = openPool(process.env.DATABASE_URL ?? '', 3)
const store = new EventStore(pool, { events: { Counted: event<{ n: number }>() } })
const [epoch = '0', tx = '0', seq = '0'] = process.argv.slice(2)
const from = { epoch: Number(epoch), tx: BigInt(tx), seq: BigInt(seq) }
const stop = new AbortController()
await subscribe(store, {
  ...{ name: 'effect', from, batch: 50, signal: stop.signal, failpoint: failpoints() },
  async handle(tx, events) {
    for (const { stream, version } of events) await tx.query(`insert into effect values ($1, $2)`, [stream, version])
  },
  onCaughtUp: async () => stop.abort(),
})
await pool.end()
