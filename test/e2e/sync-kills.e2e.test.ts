// A worker under load is killed at any moment and at every failpoint, and both servers crash: every row arrives once, and
// the slot never lets go of what is not durable. `npm run soak -- sync-kills` does it at full size; MIGRATE_SEED
// repeats a run, each round prints what it did.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { seededRandom } from '../../fixtures/load/random.ts'
import { commitInterleaved } from '../support/interleaved.ts'
import { account, keepJournal } from '../support/pair-journal.ts'
import { PairLoad } from '../support/pair-load.ts'
import { type Pair, said, type Side, startPair } from '../support/pair.ts'
import { processState } from '../support/process-state.ts'
import { failpointNames } from '../support/sync-failpoints.ts'
import { type SlotWatch, watchSlot } from '../support/slot-watch.ts'
import { eventually } from '../support/two-sides.ts'

const ROUNDS = Number(process.env.MIGRATE_SYNC_KILLS ?? 10)
const FULL = ROUNDS > 10
const SEED = Number(process.env.MIGRATE_SEED ?? 5)
const SERVICE = 'a'
/** transactions a second: at full size it has the processors for itself */
const RATE = FULL ? 200 : 100
/** A failpoint that nobody comes to for so long is not there; milliseconds. */
const PATIENCE = 20_000

const DIRECTIONS = ['forward', 'reverse'] as const
type Direction = (typeof DIRECTIONS)[number]
const LEAVES: Record<Direction, Side> = { forward: 'source', reverse: 'target' }
const ARRIVES: Record<Direction, Side> = { forward: 'target', reverse: 'source' }
const SLOTS: Record<Direction, string> = { forward: `migrate_pair_${SERVICE}`, reverse: `migrate_pair_${SERVICE}_back` }

const stack = new AsyncDisposableStack()
const random = seededRandom(SEED)
let pair: Pair
let load: PairLoad
let watch: SlotWatch

beforeAll(async () => {
  // an acknowledged commit that was not flushed would be lost in a crash, for as long as the WAL writer sleeps
  const settings = { wal_writer_delay: '10s', max_connections: 60 }
  pair = await startPair(stack, { services: [SERVICE], settings: { source: settings, target: settings } })
  await pair.syncOnce(SERVICE)
  await keepJournal(pair, 'target', [SERVICE])
})
afterAll(() => stack.disposeAsync())

describe.each(DIRECTIONS)('%s', (direction) => {
  const leaves = LEAVES[direction]
  // the way back is the same code
  const rounds = direction === 'forward' ? ROUNDS : Math.ceil(ROUNDS / 10)

  beforeAll(async () => {
    if (direction === 'reverse') await turnRound()
    const numbersFrom = load?.deeds
    load = new PairLoad({ url: pair.url(leaves, 'app'), schema: SERVICE, seed: SEED, rate: RATE, numbersFrom })
  })
  beforeEach(() => {
    watch = watchSlot(pair, leaves, SLOTS[direction], `pair_${SERVICE}/${direction}`)
    load.start()
  })
  afterEach(async () => {
    await Promise.all([watch.stop(), load.stop()])
    expect(watch.violations).toEqual([])
  })

  /** Everything that was committed is on the other side, once. */
  async function expectSound(explain: string): Promise<void> {
    await load.stop()
    await using worker = await pair.startSync(SERVICE)
    await pair.carried(SERVICE, worker, leaves)
    const ended = await worker.stop('SIGTERM')
    expect(ended, said(worker)).toEqual({ code: 143, signal: null })
    const [there, here] = [await pair.hashes(ARRIVES[direction], SERVICE), await pair.hashes(leaves, SERVICE)]
    expect(there, explain).toEqual(here)
    const { carried, ...faults } = await account(pair, ARRIVES[direction], SERVICE, load.deeds)
    expect(faults, explain).toEqual({ lost: 0, invented: 0, doubled: 0 })
    await watch.stop()
    expect(watch.samples).toBeGreaterThan(3)
    console.log(`${explain}: ${carried} transactions, ${watch.samples} samples of the slot`)
  }

  test(`${rounds} times kill -9 at any moment`, { timeout: 3_600_000 }, async () => {
    const before = load.committed
    for (let round = 1; round <= rounds; round++) {
      const delay = Math.floor(random() * 2_000)
      const worker = await pair.startSync(SERVICE, {}, false)
      const early = await Promise.race([worker.exited, moment(delay)])
      const explain = `seed ${SEED}, round ${round}, killed after ${delay} ms`
      expect(early, `${explain}\n${said(worker)}`).toBe('now')
      await worker.kill9()
    }
    await expectSound(`seed ${SEED}, ${direction}, ${rounds} kills`)
    // it is a load: about 200 a second, held up by nobody
    expect(load.committed - before).toBeGreaterThan(rounds * 50)
  })

  test('killed at every failpoint', { timeout: 600_000 }, async () => {
    // the way back is the same code: there, what is done twice when it goes wrong
    const names = failpointNames(direction).filter(
      (name) => FULL || direction === 'forward' || /before-commit|before-ack/.test(name),
    )
    for (const name of names) {
      await killAt(name)
      if (FULL) await killBehind(name)
    }
    await expectSound(`killed at ${names.join(', ')}`)
  })

  /** Dies there. */
  async function killAt(name: string): Promise<void> {
    const worker = await pair.startSync(SERVICE, { MIGRATE_FAILPOINT: `${name}=kill` })
    if (name.endsWith('.part')) await bigTransaction()
    const ended = await Promise.race([worker.exited, moment(PATIENCE)])
    expect(ended, `${name} was not reached\n${said(worker)}`).toEqual({ code: null, signal: 'SIGKILL' })
  }

  /** Dies at the first thing that it does behind it. */
  async function killBehind(name: string): Promise<void> {
    const worker = await pair.startSync(SERVICE, { MIGRATE_FAILPOINT: `${name}=stop` })
    if (name.endsWith('.part')) await bigTransaction()
    await eventually(
      () => processState(worker.pid),
      (state) => state === 'T',
      PATIENCE,
    )
    worker.child.kill('SIGCONT')
    await moment(Math.floor(random() * 10))
    expect(await worker.kill9()).toEqual({ code: null, signal: 'SIGKILL' })
  }

  /** More rows and bytes than any batch takes. */
  async function bigTransaction(): Promise<void> {
    await pair.query(
      leaves,
      `delete from ${SERVICE}.bulk; insert into ${SERVICE}.bulk select i, repeat(md5(i::text), 8) from generate_series(1, 30000) i`,
    )
  }

  // the rest does not depend on the direction
  if (direction === 'reverse' && !FULL) return

  test('killed between two interleaved commits', { timeout: 600_000 }, async () => {
    await load.stop()
    const clients = [await pair.client(leaves), await pair.client(leaves)] as const
    const pairs = Math.ceil(rounds / 5)
    await pair.query(leaves, `truncate ${SERVICE}.interleaved`)
    // nothing is left to do but the pairs
    const worker = await pair.startSync(SERVICE)
    await pair.carried(SERVICE, worker, leaves)
    await worker.stop('SIGTERM')
    await commitInterleaved(clients, { table: `${SERVICE}.interleaved`, service: SERVICE, pairs })
    // a batch each: the first of a pair has a token, the second comes before the next one with a token
    for (let batch = 0; batch < 2 * pairs; batch++) await killAt(`sync.${direction}.before-ack`)
    await expectSound(`killed between ${pairs} interleaved commits`)
  })

  test.each(['source', 'target'] as const)('the server of the %s crashes', { timeout: 600_000 }, async (side) => {
    for (let round = 0; round < (FULL ? 5 : 1); round++) {
      const worker = await pair.startSync(SERVICE)
      await pair.carried(SERVICE, worker, leaves)
      const committed = load.committed
      await eventually(
        () => Promise.resolve(load.committed),
        (now) => now > committed + 100,
      )
      await pair.crash(side)
      // it goes on by itself
      await pair.carried(SERVICE, worker, leaves)
      expect(worker.child.exitCode, said(worker)).toBeNull()
      // and the next one after a death in the middle of it
      await worker.kill9()
    }
    await expectSound(`the server of the ${side} crashed`)
  })
})

/** What a cutover does to authority and pipelines, without its gates: from here on the service is written to. */
async function turnRound(): Promise<void> {
  await pair.query('source', `update migrate.service set stage = 'route' where service = $1`, [SERVICE])
  await using worker = await pair.startSync(SERVICE)
  await worker.stdout.find(/"event":"following","direction":"reverse"/)
  await pair.carried(SERVICE, worker)
  const [fence] = await pair.query<{ at: string }>(
    'source',
    `select migrate.fence($1, 1, interval '1 minute', 'cutover')::text as at`,
    [SERVICE],
  )
  await pair.query('source', `select migrate.switch($1, 1, $2, 1), migrate.shut($1)`, [SERVICE, fence?.at])
  await pair.query('target', `update migrate.checkpoint set state = 'discard'`)
  await pair.query(
    'target',
    `select pg_logical_emit_message(true, 'migrate.start', $1 || ' reverse 1 2'), migrate.set_gate($1, 1, 2, 'open')`,
    [SERVICE],
  )
  await pair.query('source', `update migrate.service set stage = 'live' where service = $1`, [SERVICE])
  await pair.query('target', `drop schema journal cascade`)
  await pair.carried(SERVICE, worker, 'target')
  await worker.stop('SIGTERM')
  await keepJournal(pair, 'source', [SERVICE])
}

function moment(milliseconds: number): Promise<'now'> {
  return new Promise((resolve) => setTimeout(() => resolve('now'), milliseconds))
}
