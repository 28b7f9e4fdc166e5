// Runs purchases, and starts one: run-sagas.ts ID PATH. Prints its outcome and ends; with no ID it runs until SIGTERM.
import { failpoints } from '../../../src/index.ts'
import { openWorker, type Path } from '../purchase.ts'

const [id, path] = process.argv.slice(2)
const { SERVICE_URL: service = '', SHOP_URL: shop = '', CLOCK_SKEW } = process.env
if (CLOCK_SKEW !== undefined) {
  const now = Date.now
  Date.now = () => now() + Number(CLOCK_SKEW)
}
const { sagas, saga, pools } = openWorker({ service, shop }, { failpoint: failpoints() })
const ending = new AbortController()
process.once('SIGTERM', () => ending.abort())
const running = sagas.run({ signal: ending.signal })
console.log('running')
if (id !== undefined) {
  const started = await sagas.start(saga, { path: path as Path }, { id })
  console.log((await started.outcome()).status)
  ending.abort()
}
await running
for (const pool of pools) await pool.end()
