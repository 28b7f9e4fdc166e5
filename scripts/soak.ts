// The tests at their full size, by name: `npm run soak -- cutover`. `npm test` runs a fixed tenth of them at most.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
interface Soak {
  readonly files: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** of vitest; default e2e */
  readonly project?: 'unit' | 'int*'
}
const SOAKS: Readonly<Record<string, Soak>> = {
  cutover: { files: ['test/e2e/cutover', 'test/e2e/legs'], env: { MIGRATE_MATRIX: 'full' } },
  control: { files: ['test/e2e/control-apart'], env: { MIGRATE_MATRIX: 'full' } },
  routers: { files: ['test/e2e/routers-lost'], env: { MIGRATE_MATRIX: 'full' } },
  kills: { files: ['test/e2e/kills'], env: { MIGRATE_KILLS: '50' } },
  flips: { files: ['test/e2e/flips'], env: { MIGRATE_FLIP_WRITES: '1000' } },
  chaos: { files: ['test/e2e/cutover-chaos'], env: { MIGRATE_CHAOS: '30' } },
  consumer: { files: ['test/e2e/consumer', 'test/e2e/relay'], env: { MIGRATE_CONSUMER_RECORDS: '200000' } },
  'sync-kills': { files: ['test/e2e/sync-kills'], env: { MIGRATE_SYNC_KILLS: '100' } },
  'sync-zombie': { files: ['test/e2e/sync-zombie'], env: { MIGRATE_ZOMBIES: '30' } },
  'sync-interleaved': {
    ...{ files: ['src/stores/postgres/interleaved'], env: { MIGRATE_INTERLEAVED: '1000' }, project: 'int*' },
  },
  'sync-memory': {
    ...{
      files: ['test/traps/rooms', 'test/traps/alternating-rooms'],
      env: { MIGRATE_MATRIX: 'full' },
      project: 'int*',
    },
  },
  'sync-property': {
    ...{ files: ['src/stores/postgres/apply-property'], env: { MIGRATE_SCHEMAS: '1000' }, project: 'int*' },
  },
  events: { files: ['src/events/subscribe'], env: { MIGRATE_EVENTS_SECONDS: '600' }, project: 'int*' },
  'order-flow': { files: ['test/e2e/order-flow'], env: { MIGRATE_ORDERS: '5000' } },
  sagas: { files: ['test/e2e/sagas'], env: { MIGRATE_MATRIX: 'full' } },
  'orders-any': { files: ['fixtures/services/orders/any-order'], env: { MIGRATE_ANY_ORDERS: '500' }, project: 'int*' },
  'saga-many': { files: ['src/saga/many'], env: { MIGRATE_SAGAS: '10000' }, project: 'int*' },
  'saga-locks': { files: ['src/saga/locks'], env: { MIGRATE_SAGA_LOCKS: '2000' }, project: 'int*' },
  'sync-fuzz': { files: ['src/sync/pgoutput/fuzz'], env: { MIGRATE_FUZZ: '1000000' }, project: 'unit' },
}

const name = process.argv[2] ?? ''
const soak = Object.hasOwn(SOAKS, name) ? SOAKS[name] : undefined
if (soak === undefined) {
  console.error(`usage: npm run soak -- ${Object.keys(SOAKS).join(' | ')}`)
  process.exitCode = 2
} else {
  const node = (args: readonly string[]): number | null =>
    spawnSync(process.execPath, [...args], { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...soak.env } }).status
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
  const project = soak.project ?? 'e2e*'
  process.exitCode = node(['scripts/build.ts']) || node([vitest, 'run', '--project', project, ...soak.files]) || 0
}
