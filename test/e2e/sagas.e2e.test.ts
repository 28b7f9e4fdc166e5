import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pick, seededRandom } from '../../fixtures/load/random.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import { installEventing } from '../../src/index.ts'
import { diedAt, frozenAt, startProgram } from '../support/crash.ts'
import { openPool } from '../../fixtures/servers/pool.ts'
import { type Eventing, startEventing } from '../support/eventing.ts'
import { FULL } from '../support/full.ts'
import { until } from '../support/messaging.ts'
import { carry, openWorker, PARTICIPANTS, type Path, type Worker } from '../support/purchase.ts'

let db: Eventing
let shop: ReturnType<typeof openPool>
let env: { SERVICE_URL: string; SHOP_URL: string }
const ending = new AbortController()
let carrying: Promise<void>
/** every place that a purchase comes by, and what it amounts to, when nothing happens */
const places = new Map<Path, string[]>()
const undisturbed = new Map<Path, Amount>()

beforeAll(async () => {
  db = await startEventing({ name: 'sagas' })
  await db.query(PARTICIPANTS)
  const { user, password } = db.server.superuser
  await db.admin.query(`create database shop`)
  env = { SERVICE_URL: db.url, SHOP_URL: db.server.url('shop', user, password) }
  shop = openPool(env.SHOP_URL, 5)
  await installEventing(shop)
  await shop.query(PARTICIPANTS)
  const mute = worker()
  carrying = carry(db.pool, mute.sagas, ending.signal)
  for (const path of ['done', 'pivot', 'group'] as const) {
    const names: string[] = []
    const id = randomUUID()
    await using here = runWorker(async (name) => void names.push(name))
    await (await here.sagas.start(here.saga, { path }, { id })).outcome()
    places.set(path, [...new Set(names)])
    undisturbed.set(path, await amount(id))
  }
})

afterAll(async () => {
  ending.abort()
  await carrying
  await shop.end()
  await db[Symbol.asyncDispose]()
})

const worker = (failpoint?: (name: string) => Promise<void>): Worker =>
  openWorker({ service: env.SERVICE_URL, shop: env.SHOP_URL }, failpoint && { failpoint })

function runWorker(failpoint?: (name: string) => Promise<void>): Worker & AsyncDisposable {
  const opened = worker(failpoint)
  const stop = new AbortController()
  const running = opened.sagas.run({ signal: stop.signal })
  return {
    ...opened,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
      for (const pool of opened.pools) await pool.end()
    },
  }
}

interface Amount {
  readonly status?: string
  readonly local: readonly string[]
  readonly remote: readonly string[]
}

/** What a saga amounts to: its end, and what participants did, in order; the parts of a group in order of their names. */
async function amount(id: string): Promise<Amount> {
  const [row] = await db.query<{ status: string }>(
    `select status, owner, due_at, step from eventing.saga where id = $1`,
    [id],
  )
  const local = await db.query<{ what: string }>(`select what from effect where saga = $1 order by n`, [id])
  const { rows } = await shop.query<{ what: string }>(`select what from effect where saga = $1 order by n`, [id])
  const remote = rows.map(({ what }) => what)
  for (const direction of ['execute', 'compensate']) {
    const [one, two] = [remote.indexOf(`pack ${direction}`), remote.indexOf(`label ${direction}`)]
    if (one === two + 1 && two >= 0) [remote[one], remote[two]] = [remote[two] ?? '', remote[one] ?? '']
  }
  return { ...row, local: local.map(({ what }) => what), remote }
}

/**
 * Of a group of which one step refuses, another one whose answer was lost may be taken back before it is asked for again:
 * then it never happened, which is as good as both.
 */
function balanced(path: Path, found: Amount | undefined): unknown {
  if (path !== 'group' || found === undefined) return found
  const [done, undone] = ['pack execute', 'pack compensate'].map((what) => found.remote.indexOf(what)) as [
    number,
    number,
  ]
  if (done < 0 || undone < done) return found
  return { ...found, remote: found.remote.filter((_, n) => n !== done && n !== undone) }
}

const ended = async (id: string): Promise<boolean> => {
  const rows = await db.query<{ status: string }>(`select status from eventing.saga where id = $1`, [id])
  return ['DONE', 'COMPENSATED', 'STUCK'].includes(rows[0]?.status ?? '')
}

const program = (
  id: string,
  path: Path,
  failpoint?: Parameters<typeof startProgram>[1],
  more = {},
): Promise<RunningProcess> =>
  startProgram({ name: 'run-sagas', args: [id, path], env: { ...env, ...more }, logs: db.server.folder }, failpoint)

/** All places, or a twentieth of them that is always the same. */
function chosen(): { path: Path; place: string }[] {
  const all = [...places].flatMap(([path, names]) => names.map((place) => ({ path, place })))
  if (FULL) return all
  const random = seededRandom(42)
  const some = Array.from({ length: Math.ceil(all.length / 20) }, () => pick(all, random))
  // in the middle of a local step, which goes on although its transaction is gone
  return [{ path: 'done', place: 'saga.before-done-execute-order' }, ...some]
}

describe('a purchase', () => {
  test('goes each way, with every effect once and back in reverse', () => {
    expect(undisturbed.get('done')).toMatchObject({
      status: 'DONE',
      local: ['order execute', 'notify execute', 'book execute'],
      remote: ['reserve execute', 'pack execute', 'label execute', 'pay execute', 'thank execute'],
    })
    expect(undisturbed.get('pivot')).toMatchObject({
      status: 'COMPENSATED',
      local: ['order execute', 'notify execute', 'notify compensate', 'order compensate'],
      remote: [
        'reserve execute',
        'pack execute',
        'label execute',
        'pack compensate',
        'label compensate',
        'reserve compensate',
      ],
    })
    expect(undisturbed.get('group')).toMatchObject({
      status: 'COMPENSATED',
      remote: ['reserve execute', 'pack execute', 'pack compensate', 'reserve compensate'],
    })
    expect([...places.values()].flat().length).toBeGreaterThan(90)
  })

  test('amounts to the same when its process is killed anywhere', { timeout: 600_000 }, async () => {
    for (const { path, place } of chosen()) {
      const id = randomUUID()
      const victim = await program(id, path, { name: place })
      await diedAt(victim, place)
      // before the start is stored there is nothing, and whoever asked asks again
      const rows = await db.query(`select from eventing.saga where id = $1`, [id])
      expect(rows, place).toHaveLength(1)
      await using _ = runWorker()
      await until(`${place} is recovered`, () => ended(id))
      expect(balanced(path, await amount(id)), `${path} ${place}`).toEqual(balanced(path, undisturbed.get(path)))
    }
    expect(await db.query(`select from eventing.saga_lock`)).toEqual([])
  })

  test('amounts to the same when the database crashes anywhere', { timeout: 600_000 }, async () => {
    for (const { path, place } of chosen()) {
      const id = randomUUID()
      let crashed: Promise<void> | null = null
      const crash = async (name: string): Promise<void> => {
        if (name !== place || crashed !== null) return
        crashed = db.server.stop('immediate').then(() => db.server.restart())
        await crashed
      }
      await using here = runWorker(crash)
      await (await here.sagas.start(here.saga, { path }, { id })).outcome()
      expect(crashed, place).not.toBe(null)
      expect(balanced(path, await amount(id)), `${path} ${place}`).toEqual(balanced(path, undisturbed.get(path)))
    }
  })

  test('is taken over from a process that sleeps, which then writes nothing', { timeout: 120_000 }, async () => {
    for (const place of [
      'saga.called-execute-pay',
      'saga.before-done-execute-book',
      'saga.before-done-execute-thank',
    ]) {
      const id = randomUUID()
      const sleeper = await program(id, 'done', { name: place, action: 'stop' })
      await frozenAt(sleeper, place)
      await using _ = runWorker()
      await until(`${place} is recovered`, () => ended(id))
      expect(await amount(id), place).toEqual(undisturbed.get('done'))
      const journal = `select seq, at, entries from eventing.saga_journal where saga_id = $1 order by seq`
      const before = await db.query(journal, [id])
      process.kill(sleeper.pid, 'SIGCONT')
      // it comes to know how it ended, and ends
      expect((await sleeper.exited).code, place).toBe(0)
      expect(await db.query(journal, [id])).toEqual(before)
      expect(await amount(id), place).toEqual(undisturbed.get('done'))
    }
  })

  test('does not care for the clocks of its processes', { timeout: 120_000 }, async () => {
    for (const hours of [-1, 1]) {
      const id = randomUUID()
      const victim = await program(
        id,
        'pivot',
        { name: 'saga.before-compensate' },
        { CLOCK_SKEW: String(hours * 3_600_000) },
      )
      await diedAt(victim, 'saga.before-compensate')
      const other = await program(randomUUID(), 'done', undefined, { CLOCK_SKEW: String(-hours * 3_600_000) })
      expect((await other.exited).code).toBe(0)
      await until('it is recovered', () => ended(id))
      expect(await amount(id)).toEqual(undisturbed.get('pivot'))
    }
  })
})
