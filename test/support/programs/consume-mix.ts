// A consumer of mixed fortunes: consume-mix.ts TOPIC. A message with `poison` never succeeds; one with `tries` fails so
// often before it does. Its attempts are counted outside of the transaction, so that they outlive it.
import { consume, event, failpoints, MigrateError } from '../../../src/index.ts'
import { openPool } from '../../../fixtures/servers/pool.ts'

const [topic = ''] = process.argv.slice(2)
const pool = openPool(process.env.DATABASE_URL ?? '', 8)
const stop = new AbortController()
process.once('SIGTERM', () => stop.abort())
const consuming = consume({
  ...{ pool, name: 'mix', topics: [topic], signal: stop.signal, failpoint: failpoints(), batch: 200 },
  kafka: { brokers: (process.env.BROKERS ?? '').split(','), clientId: `mix-${process.pid}` },
  events: { Counted: event<{ n: number; tries: number; poison: boolean }>() },
  ...{ afterDeadLetter: 'skip', backoff: { first: 50, longest: 500 }, stallTimeout: 5_000 },
  handlers: {
    async Counted(tx, { key, data: { n, tries, poison } }) {
      await tx.query(`insert into effect (key, n) values ($1, $2)`, [key, n])
      if (poison) throw new MigrateError('USAGE', { reason: 'poison', command: 'none' })
      if (tries > 0 && (await attempt(n)) <= tries) throw new Error('not now')
    },
  },
  onTrouble: (error) => console.error(error.message),
})
console.log('consuming')
await consuming
await pool.end()

async function attempt(n: number): Promise<number> {
  const { rows } = await pool.query(
    `insert into attempt values ($1, 1) on conflict (n) do update set tries = attempt.tries + 1 returning tries`,
    [n],
  )
  return (rows[0] as { tries: number }).tries
}
