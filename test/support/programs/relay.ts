// Publishes the outbox until SIGTERM.
import { failpoints, relayOutbox } from '../../../src/index.ts'
import { openPool } from '../../../fixtures/servers/pool.ts'

const pool = openPool(process.env.DATABASE_URL ?? '', 4)
const stop = new AbortController()
process.once('SIGTERM', () => stop.abort())
const relaying = relayOutbox({
  ...{ pool, name: 'relay', signal: stop.signal, batch: 50, failpoint: failpoints() },
  kafka: { brokers: (process.env.BROKERS ?? '').split(','), clientId: `relay-${process.pid}` },
  onTrouble: (error) => console.error(error.message),
})
console.log('relaying')
await relaying
await pool.end()
