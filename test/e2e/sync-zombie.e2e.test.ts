// A worker that was stopped for longer than its lease writes nothing when it wakes up. Triggers on the target keep every
// write with the name of the session that made it, in the transaction that made it. Several services at once: a round
// lasts as long as a lease. `npm run soak -- sync-zombie` does 30.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { seededRandom } from '../../fixtures/load/random.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import { account, keepJournal } from '../support/pair-journal.ts'
import { PairLoad } from '../support/pair-load.ts'
import { type Pair, said, startPair } from '../support/pair.ts'
import { processState } from '../support/process-state.ts'
import { failpointNames } from '../support/sync-failpoints.ts'
import { eventually } from '../support/two-sides.ts'

const ROUNDS = Number(process.env.MIGRATE_ZOMBIES ?? 3)
const SEED = Number(process.env.MIGRATE_SEED ?? 5)
const SERVICES = ['a', 'b', 'c']
/** A worker that another one has followed must be gone so soon after it was woken; milliseconds. */
const PATIENCE = 10_000
/** A takeover takes a lease at most, and the start of a process. */
const TAKEOVER = 15_000

const stack = new AsyncDisposableStack()
const random = seededRandom(SEED)
let pair: Pair
let loads: ReadonlyMap<string, PairLoad>
let workers: Map<string, RunningProcess>

beforeAll(async () => {
  pair = await startPair(stack, { services: SERVICES })
  await Promise.all(SERVICES.map((service) => pair.syncOnce(service)))
  await keepJournal(pair, 'target', SERVICES)
  loads = new Map(SERVICES.map((service) => [service, new PairLoad(loadOf(service))]))
  for (const load of loads.values()) load.start()
})
afterAll(async () => {
  await Promise.all([...(loads?.values() ?? [])].map((load) => load.stop()))
  await stack.disposeAsync()
})

/** Where a worker is stopped: anywhere, or where it holds or has just let go of an open transaction. */
const PLACES: readonly (string | null)[] = [
  null,
  ...failpointNames('forward').filter((name) => !name.endsWith('.part')),
]

test(`${ROUNDS} workers sleep through their lease: nothing is written in their name`, {
  timeout: 3_600_000,
}, async () => {
  workers = new Map()
  for (let round = 0; round < ROUNDS; round += SERVICES.length) {
    const chosen = SERVICES.slice(0, ROUNDS - round)
    const results = await Promise.allSettled(chosen.map((service, i) => sleepOver(service, place(round + i))))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }
  await Promise.all([...loads.values()].map((load) => load.stop()))
  for (const [service, worker] of workers) {
    await pair.carried(service, worker)
    expect(await worker.stop('SIGTERM'), said(worker)).toEqual({ code: 143, signal: null })
    expect(await pair.hashes('target', service)).toEqual(await pair.hashes('source', service))
    const { carried, ...faults } = await account(pair, 'target', service, loads.get(service)?.deeds ?? [])
    expect(faults).toEqual({ lost: 0, invented: 0, doubled: 0 })
    expect(carried).toBeGreaterThan(100)
  }
})

/** One worker sleeps, the next one takes over and writes, the first one wakes up. */
async function sleepOver(service: string, where: string | null): Promise<void> {
  const explain = `seed ${SEED}, ${service}, stopped at ${where ?? 'any moment'}`
  const zombie = await fallAsleep(service, where)
  const asleep = performance.now()
  const old = await epochOf(service)
  const next = await pair.startSync(service)
  workers.set(service, next)
  await eventually(
    () => epochOf(service),
    (epoch) => epoch > old,
    TAKEOVER,
  )
  const claimed = await epochOf(service)
  await wroteUnder(service, claimed)
  const took = Math.round(performance.now() - asleep)

  const before = await writesOfOthers(service, claimed)
  zombie.child.kill('SIGCONT')
  const ended = await Promise.race([zombie.exited, moment(PATIENCE)])
  expect(ended, `${explain}\n${said(zombie)}`).toEqual({ code: 5, signal: null })
  // the new one goes on, with what it has claimed
  await wroteUnder(service, claimed)
  expect(await epochOf(service), explain).toBe(claimed)
  expect(await writesOfOthers(service, claimed), explain).toBe(before)
  console.log(`${explain}: followed after ${took} ms`)
}

/** A worker of the service, the last round's or a new one, that stands still. */
async function fallAsleep(service: string, where: string | null): Promise<RunningProcess> {
  await workers.get(service)?.stop('SIGTERM')
  const before = await epochOf(service)
  const zombie = await pair.startSync(service, where === null ? {} : { MIGRATE_FAILPOINT: `${where}=stop` })
  if (where === null) {
    await wroteUnder(
      service,
      await eventually(
        () => epochOf(service),
        (epoch) => epoch > before,
      ),
    )
    await moment(random() * 300)
    zombie.child.kill('SIGSTOP')
  }
  await eventually(
    () => processState(zombie.pid),
    (state) => state === 'T',
    PATIENCE,
  )
  return zombie
}

/** Waits until the worker with this epoch has written more rows. */
async function wroteUnder(service: string, epoch: number): Promise<void> {
  const count = async (): Promise<number> => {
    const sql = `select count(*)::int as n from journal.write where relation like $1 || '.%' and session = $2`
    return (await pair.query<{ n: number }>('target', sql, [service, session(service, epoch)]))[0]?.n ?? 0
  }
  const before = await count()
  await eventually(count, (n) => n > before, TAKEOVER)
}

/**
 * How many writes of rows and of the checkpoint were committed by anybody else. A count of what is visible, since entries
 * are numbered as they are made, not as they are committed.
 */
async function writesOfOthers(service: string, epoch: number): Promise<number> {
  const sql = `select count(*)::int as n from journal.write
    where (relation like $1 || '.%' or relation = $2) and session <> $3`
  const values = [service, `pair_${service}/forward`, session(service, epoch)]
  return (await pair.query<{ n: number }>('target', sql, values))[0]?.n ?? 0
}

function session(service: string, epoch: number): string {
  return `migrate/pair_${service}/forward/${epoch}`
}

async function epochOf(service: string): Promise<number> {
  const sql = `select epoch::int as epoch from migrate.checkpoint where pipeline = $1`
  const [row] = await pair.query<{ epoch: number }>('target', sql, [`pair_${service}/forward`])
  return row?.epoch ?? 0
}

function place(round: number): string | null {
  return PLACES[(round + SEED) % PLACES.length] ?? null
}

function loadOf(schema: string) {
  return { url: pair.url('source', 'app'), schema, seed: SEED, rate: 60 }
}

function moment(milliseconds: number): Promise<'now'> {
  return new Promise((resolve) => setTimeout(() => resolve('now'), milliseconds))
}
