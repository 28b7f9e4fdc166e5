// The worked example with the users service in dual-write, writers running, and the means to judge a move.
import pg from 'pg'
import { expect } from 'vitest'
import { type CliRun, type Shop, type ShopOptions, startShop } from '../../fixtures/demo/shop.ts'
import { dropCrossingForeignKeys } from '../../fixtures/monolith/database.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import {
  type Apps,
  eventually,
  expectEqual,
  expectOneWriter,
  expectTidy,
  judge,
  pointsOf,
  type Sides,
  type Standing,
  standing,
} from './two-sides.ts'
import { type ApartShop, type RouterApart, startApartShop } from './apart-shop.ts'
import { Writers } from './writers.ts'

type Client = pg.Client
export type Router = RunningProcess & { readonly url: string }

/** A shop whose users move. */
export class MovingShop {
  readonly shop: Shop
  readonly writers: Writers
  sync!: RunningProcess
  /** users are spread over them */
  routers: Router[] = []
  /** as superuser */
  sides!: Sides
  /** as the monolith and as the service */
  apps!: Apps
  before!: Map<number, number>
  /** a server was restarted: what had no clear answer may have been carried out */
  restarted = false

  readonly #control: string

  /** `control` = the control database where it is not in the monolith's */
  constructor(shop: Shop, control = shop.monolith.superuser) {
    this.shop = shop
    this.#control = control
    const router = (user: number): string => this.routers[user % this.routers.length]?.url ?? ''
    this.writers = new Writers({ router, monolith: shop.monolith.app })
  }

  get router(): Router {
    return this.routers[0] as Router
  }

  /** Connections are lost with every restart of a server. */
  async connect(): Promise<void> {
    const { monolith, users } = this.shop
    const urls = [monolith.superuser, users.superuser, monolith.app, users.app, this.#control]
    const [one, two, three, four, five] = (await Promise.all(urls.map((url) => connect(url)))) as [
      Client,
      Client,
      Client,
      Client,
      Client,
    ]
    this.sides = { monolith: one, users: two, control: five }
    this.apps = { monolith: three, users: four }
  }

  async disconnect(): Promise<void> {
    const clients = [...Object.values(this.sides), ...Object.values(this.apps)] as Client[]
    await Promise.all(clients.map((client) => client.end().catch(() => undefined)))
  }

  cutover(env: NodeJS.ProcessEnv = {}): Promise<CliRun> {
    return this.shop.cli(['cutover', 'users'], env)
  }

  rollback(env: NodeJS.ProcessEnv = {}): Promise<CliRun> {
    return this.shop.cli(['rollback', 'users'], env)
  }

  standing(): Promise<Standing> {
    return standing(this.sides)
  }

  /** Who may write, asked without the control database. */
  async authority(): Promise<Standing['side']> {
    const { rows } = await this.sides.monolith.query(`select state from migrate.authority where service = 'users'`)
    return rows[0].state
  }

  /** When no run is under way any more and the stage is the authority's. */
  settled(milliseconds = 30_000): Promise<Standing> {
    const look = async () => {
      const { rows } = await this.sides.control.query(
        `select count(*)::int as runs from migrate.run where state = 'running'`,
      )
      return { ...(await this.standing()), runs: rows[0].runs as number }
    }
    return eventually(look, ({ runs }) => runs === 0, milliseconds)
  }

  /** One stage after the other, forwards or back. */
  async reach(stage: keyof typeof WAYS): Promise<void> {
    const stages = Object.keys(WAYS)
    for (;;) {
      const { stage: now } = await this.standing()
      if (now === stage) return
      const on = stages.indexOf(now) < stages.indexOf(stage)
      await succeed(this.shop.cli(WAYS[now as keyof typeof WAYS][on ? 'on' : 'back']))
    }
  }

  /** Moves it there, if it is not, by a run that nothing disturbs. */
  async ensure(stage: 'live' | 'dual-write'): Promise<void> {
    if ((await this.standing()).stage === stage) return
    const run = await (stage === 'live' ? this.cutover() : this.rollback())
    expect(run.code, run.stdout + run.stderr).toBe(0)
  }

  /** The writers rest, both sides become equal, and everything is as it must be; then the writers go on. */
  async expectSound(): Promise<Standing> {
    await this.writers.rest()
    try {
      const now = await this.standing()
      expect(now.side).toBe(now.stage === 'live' ? 'service' : 'monolith')
      await expectOneWriter(this.apps, now.side)
      await expectEqual(this.sides)
      await expectTidy(this.sides)
      await this.expectNothingLost()
      return now
    } finally {
      this.writers.go()
    }
  }

  /** Both sides have every acknowledged write, exactly once. */
  async expectNothingLost(): Promise<void> {
    const { ledger } = this.writers
    const sides = [this.sides.monolith, this.sides.users]
    const verdicts = await Promise.all(sides.map((side) => judge(side, this.before, ledger, this.restarted)))
    const right = { lost: 0, doubled: 0 }
    expect(verdicts, JSON.stringify(ledger.failures.slice(-5))).toEqual([right, right])
  }
}

/** From `sync` no command leads back. */
const WAYS = {
  sync: { on: ['route', 'set', 'users', '--percent', '25'], back: [] },
  route: { on: ['dual-write', 'users'], back: [] },
  'dual-write': { on: ['cutover', 'users'], back: ['dual-write', 'users', '--off'] },
  live: { on: [], back: ['rollback', 'users'] },
}

/** Starts everything and takes the users into dual-write. */
export async function startMovingShop(
  stack: AsyncDisposableStack,
  options: Partial<ShopOptions> = {},
): Promise<MovingShop> {
  const shop = stack.use(await startShop({ size: 'small', ...options }))
  const moving = await startMoving(stack, new MovingShop(shop))
  await succeed(shop.cli(['route', 'set', 'users', '--percent', '25']))
  moving.routers = [await shop.startRouter()]
  moving.writers.go()
  await succeed(shop.cli(['dual-write', 'users']))
  return moving
}

/** The same with a control database apart, two routers that can be cut off, and the users still in `sync`. */
export async function startMovingApart(stack: AsyncDisposableStack): Promise<MovingApart> {
  const shop = await startApartShop(stack, { size: 'small' })
  const moving = await startMoving(stack, new MovingShop(shop, shop.controlUrl))
  const routers = [await shop.startRouterApart(), await shop.startRouterApart()] as const
  moving.routers = [...routers]
  moving.writers.go()
  return Object.assign(moving, { shop, apart: routers })
}

export type MovingApart = MovingShop & { readonly shop: ApartShop; readonly apart: readonly [RouterApart, RouterApart] }

async function startMoving(stack: AsyncDisposableStack, moving: MovingShop): Promise<MovingShop> {
  const { shop } = moving
  await moving.connect()
  stack.defer(() => moving.disconnect())
  await dropCrossingForeignKeys(moving.sides.monolith, 'users')
  moving.before = await pointsOf(moving.sides.monolith)
  moving.sync = await shop.startSync()
  stack.defer(() => moving.writers.rest())
  return moving
}

export async function succeed(running: Promise<CliRun>): Promise<CliRun> {
  const run = await running
  expect(run.code, run.stdout + run.stderr).toBe(0)
  return run
}

/** A transaction of the monolith that has passed the gate and stays open. */
export async function passGate(shop: Shop): Promise<{ busy: pg.Client; pid: number }> {
  const busy = await connect(shop.monolith.app)
  await busy.query('begin')
  await busy.query('update users set name = name where id = 42')
  return { busy, pid: (await busy.query('select pg_backend_pid() as pid')).rows[0].pid }
}

/** `name` tells migrate's preflight whose connection it is, should it be made as migrate's own role. */
export async function connect(connectionString: string, name = 'test'): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, application_name: name })
  client.on('error', () => undefined)
  await client.connect()
  return client
}
