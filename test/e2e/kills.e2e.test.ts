// kill -9 of any process at any moment, started again as a supervisor would. `npm run soak -- kills` does it 50 times;
// MIGRATE_SEED repeats a run, each round prints what it did.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { pick, seededRandom } from '../../fixtures/load/random.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import { type MovingShop, type Router, startMovingShop } from '../support/moving-shop.ts'
import { eventually } from '../support/two-sides.ts'
import type { Failure } from '../support/writers.ts'

const ROUNDS = Number(process.env.MIGRATE_KILLS ?? 5)
const SEED = Number(process.env.MIGRATE_SEED ?? 15)
// a move waits for the lease of a router that has died, so that comes last
const VICTIMS = ['worker', 'command', 'service', 'monolith', 'router'] as const
const SERVERS = ['server of the monolith', 'server of the service'] as const
type Victim = (typeof VICTIMS)[number] | (typeof SERVERS)[number]

/** What somebody may be doing in a stage when it happens; a command that is killed is run again. */
const COMMANDS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  route: [['dual-write', 'users'], ['dual-write', 'users'], ['status']],
  'dual-write': [
    ['cutover', 'users'],
    ['cutover', 'users'],
    ['dual-write', 'users', '--off'],
  ],
  live: [['rollback', 'users'], ['rollback', 'users'], ['status']],
}
/** done; a gate or a worker is missing; somebody else works on it; given up; a server was away */
const ENDS = [0, 4, 5, 6, 7]

const stack = new AsyncDisposableStack()
const random = seededRandom(SEED)
let moving: MovingShop
let apps: { service: RunningProcess; monolith: RunningProcess }

beforeAll(async () => {
  moving = await startMovingShop(stack)
  moving.routers.push(await moving.shop.startRouter())
  apps = { service: moving.shop.usersApp, monolith: moving.shop.monolithApp }
})
afterAll(() => stack.disposeAsync())

test(
  `${ROUNDS} processes are killed: nothing lost, nothing doubled, only their own requests fail`,
  {
    timeout: 3_600_000,
  },
  () => killing(ROUNDS, VICTIMS),
)

// legs-servers.e2e does it once in each stage, with nothing else going on
test.runIf(ROUNDS > 5)(
  'database servers crash and recover: nothing lost, nothing doubled',
  {
    timeout: 3_600_000,
  },
  () => killing(ROUNDS / 5, SERVERS),
)

async function killing(rounds: number, victims: readonly Victim[]): Promise<void> {
  for (let round = 1; round <= rounds; round++) {
    const { stage } = await moving.standing()
    const args = pick(COMMANDS[stage] ?? [], random)
    const victim = victims[(round - 1 + SEED) % victims.length] as Victim
    const delay = Math.floor(random() * 1_500)
    const line = `seed ${SEED} round ${round}: ${stage}, migrate ${args.join(' ')}, ${victim} killed after ${delay} ms`
    const { failures } = moving.writers.ledger
    const before = failures.length
    const sides = new Set([(await moving.standing()).side])

    const running = await moving.shop.startCli(args)
    await Promise.race([new Promise((resolve) => setTimeout(resolve, delay)), running.exited])
    sides.add((await moving.standing()).side)
    const lost = await kill(victim, running)
    const { code } = await running.exited
    if (victim !== 'command') expect(ENDS, `${line}\n${running.stdout.text()}`).toContain(code)
    await settle(args, victim)
    sides.add((await moving.standing()).side)
    if (victim === 'router' && round < rounds) await routersLive(2)

    const innocent = failures.slice(before).filter((failure) => !isExcused(failure, victim, lost, sides))
    const explain = `${line}\n${running.stdout.text()}\n${running.stderr.text()}`
    expect(innocent, explain).toEqual([])
    const now = await moving.expectSound().catch((cause: unknown) => {
      throw new Error(explain, { cause })
    })
    console.log(`${line}: ${code ?? 'killed'}, ${now.stage}, ${failures.length - before} requests failed`)
  }
}

/** Kills it and starts another one; returns the URL that nobody answers at any more, if it had one. */
async function kill(victim: Victim, running: RunningProcess): Promise<string | null> {
  switch (victim) {
    case 'worker':
      await moving.sync.kill9()
      moving.sync = await moving.shop.startSync()
      return null
    case 'router': {
      const at = Math.floor(random() * moving.routers.length)
      const { url } = moving.routers[at] as Router
      await (moving.routers[at] as Router).kill9()
      moving.routers[at] = await moving.shop.startRouter()
      return url
    }
    case 'command':
      await running.kill9()
      return null
    case 'service':
      await apps.service.kill9()
      apps.service = await moving.shop.restartUsersApp()
      break
    case 'monolith':
      await apps.monolith.kill9()
      apps.monolith = await moving.shop.restartMonolithApp()
      break
    case 'server of the monolith':
    case 'server of the service': {
      const { monolithServer, usersServer } = moving.shop
      const server = victim === 'server of the monolith' ? monolithServer : usersServer
      await server.stop('immediate')
      await server.restart()
      await moving.disconnect()
      await moving.connect()
    }
  }
  // it may have carried out what the router answered with 502
  moving.restarted = true
  return null
}

/** What a command has left half done is ended: a run by the worker, another stage by the command itself. */
async function settle(args: readonly string[], victim: Victim): Promise<void> {
  if (victim === 'command') {
    const again = await moving.shop.cli(args)
    expect(ENDS, again.stdout).toContain(again.code)
  }
  await moving.settled()
  // a leave that broke off is taken back by entering again
  const { rows } = await moving.sides.control.query(
    `select stage = 'dual-write' and not legs as half from migrate.service where service = 'users'`,
  )
  if (rows[0].half === true) await moving.shop.cli(['dual-write', 'users'])
  const heard = `select count(*)::int as n from migrate.progress where phase = 'streaming' and seen_at > clock_timestamp() - interval '2 s'`
  await eventually(
    async () => (await moving.sides.control.query(heard)).rows[0].n as number,
    (n) => n === 2,
    20_000,
  )
}

async function routersLive(count: number): Promise<void> {
  const text = 'select count(*)::int as n from migrate.router where expires_at > clock_timestamp()'
  await eventually(
    async () => (await moving.sides.control.query(text)).rows[0].n as number,
    (n) => n === count,
  )
}

/** Direct writes meet the fence: that is the gate's word, and counted as refused. */
function isExcused({ via }: Failure, victim: Victim, lost: string | null, sides: ReadonlySet<string>): boolean {
  if (via === null || via === lost) return true
  if (SERVERS.some((server) => server === victim)) return true
  return victim === 'service' || victim === 'monolith' ? sides.has(victim) : false
}
