// Appends one event: append-event.ts STREAM ID
import { event, EventStore, failpoints } from '../../../src/index.ts'
import { openPool } from '../../../fixtures/servers/pool.ts'

const [stream = '', id = ''] = process.argv.slice(2)
const pool = openPool(process.env.DATABASE_URL ?? '', 2)
const store = new EventStore(pool, { events: { Counted: event<{ n: number }>() }, failpoint: failpoints() })
await store.append(stream, [{ type: 'Counted', data: { n: 1 }, id }], { expectedVersion: 'no-stream' })
await pool.end()
