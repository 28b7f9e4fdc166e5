// The worked example with the users service in dual-write, writers running, and the means to judge a move.
import pg from 'pg'
import { expect } from 'vitest'
import { type CliRun, type Shop, type ShopOptions, startShop } from '../../fixtures/demo/shop.ts'
import { dropCrossingForeignKeys } from '../../fixtures/monolith/database.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import {
  expectEqual,
  expectOneWriter,
  expectTidy,
  judge,
  pointsOf,
  type Sides,
  type Standing,
  standing,
} from './two-sides.ts'
import { Writers } from './writers.ts'

export type Router = RunningProcess & { readonly url: string }

/** A shop whose users move. */
export class MovingShop {
  readonly shop: Shop
  readonly writers: Writers
  sync!: RunningProcess
  router!: Router
  /** as superuser */
  sides!: Sides
  /** as the monolith and as the service */
  apps!: Sides
  before!: Map<number, number>
  /** a server was restarted: what had no clear answer may have been carried out */
  restarted = false

  constructor(shop: Shop) {
    this.shop = shop
    this.writers = new Writers({ router: () => this.router.url, monolith: shop.monolith.app })
  }

  /** Connections are lost with every restart of a server. */
  async connect(): Promise<void> {
    const { monolith, users } = this.shop
    const [one, two, three, four] = await Promise.all(
      [monolith.superuser, users.superuser, monolith.app, users.app].map((url) => connect(url)),
    )
    this.sides = { monolith: one as pg.Client, users: two as pg.Client }
    this.apps = { monolith: three as pg.Client, users: four as pg.Client }
  }

  async disconnect(): Promise<void> {
    const clients = [this.sides, this.apps].flatMap(({ monolith, users }) => [monolith, users])
    await Promise.all(clients.map((client) => client.end().catch(() => undefined)))
  }

  cutover(env: NodeJS.ProcessEnv = {}): Promise<CliRun> {
    return this.shop.cli(['cutover', 'users'], env)
  }

  rollback(env: NodeJS.ProcessEnv = {}): Promise<CliRun> {
    return this.shop.cli(['rollback', 'users'], env)
  }

  standing(): Promise<Standing> {
    return standing(this.sides.monolith)
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
      expect([now.stage, now.side]).toEqual(now.side === 'service' ? ['live', 'service'] : ['dual-write', 'monolith'])
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

/** Starts everything and takes the users into dual-write. */
export async function startMovingShop(
  stack: AsyncDisposableStack,
  options: Partial<ShopOptions> = {},
): Promise<MovingShop> {
  const shop = stack.use(await startShop({ size: 'small', ...options }))
  const moving = new MovingShop(shop)
  await moving.connect()
  stack.defer(() => moving.disconnect())
  await dropCrossingForeignKeys(moving.sides.monolith, 'users')
  moving.before = await pointsOf(moving.sides.monolith)
  moving.sync = await shop.startSync()
  await succeed(shop.cli(['route', 'set', 'users', '--percent', '25']))
  moving.router = await shop.startRouter()
  moving.writers.go()
  stack.defer(() => moving.writers.rest())
  await succeed(shop.cli(['dual-write', 'users']))
  return moving
}

export async function succeed(running: Promise<CliRun>): Promise<CliRun> {
  const run = await running
  expect(run.code, run.stdout + run.stderr).toBe(0)
  return run
}

/** `name` tells migrate's preflight whose connection it is, should it be made as migrate's own role. */
export async function connect(connectionString: string, name = 'test'): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, application_name: name })
  client.on('error', () => undefined)
  await client.connect()
  return client
}
