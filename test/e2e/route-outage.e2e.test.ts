import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Agent } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { add, ask, readersIn, type RoutedShop, type Router, routedTo, startRoutedShop } from '../support/routed-shop.ts'

// What is taken away from a running router: its control database, and at last itself.

let routed: RoutedShop
let routers: [Router, Router]
beforeAll(async () => {
  routed = await startRoutedShop()
  await routed.startSync()
  routers = await Promise.all([routed.startRouter(), routed.startRouter()])
})
afterAll(() => routed[Symbol.asyncDispose]())

describe.each(['cut', 'freeze'] as const)('the control database is away (%s)', (way) => {
  test('reads go on as before, and writes', async () => {
    await set(50)
    const [inner = ''] = readersIn(0, 20, 1)
    const [outer = ''] = readersIn(80, 100, 1)
    await obeyed(inner, 'service')
    await routed.control[way]()
    const until = Date.now() + 2_000
    const seen = new Set<string>()
    let failed = 0
    while (Date.now() < until) {
      for (const router of routers) {
        const replies = [
          await ask(router.url, { path: '/users/1', user: inner }),
          await ask(router.url, { path: '/users/1', user: outer }),
          await add(router, '301'),
        ]
        failed += replies.filter(({ status }) => status !== 200).length
        seen.add(replies.map(({ side }) => side).join(' '))
      }
    }
    expect({ failed, seen: [...seen] }).toEqual({ failed: 0, seen: ['service monolith monolith'] })
  })

  test('and obeyed again within seconds of its return', async () => {
    await routed.control.restore()
    const started = performance.now()
    await routed.controlSql.query(
      `update migrate.service set percent = 0, version = nextval('migrate.policy_version') where service = 'users'`,
    )
    await obeyed(readersIn(0, 20, 1)[0] ?? '', 'monolith')
    console.log(`back after ${way}: obeyed after ${Math.round(performance.now() - started)} ms`)
    expect(performance.now() - started).toBeLessThan(5_000)
  })
})

describe('SIGTERM', () => {
  test('under load: what was accepted is answered, and nobody waits for the router', async () => {
    await set(50)
    const [leaving, staying] = routers
    const blocker = new pg.Client(routed.shop.monolith.superuser)
    await blocker.connect()
    await blocker.query('begin; select 1 from users where id = 400 for update')
    const slow = add(leaving, '400')
    await untilBlocked(routed.controlSql)

    const load = keepAsking(leaving)
    await load.running
    const exit = leaving.stop('SIGTERM')
    // the load ends by itself when nobody listens any more
    const { answered, refused, broken } = await load.ended
    await blocker.query('commit')
    await blocker.end()
    expect((await slow).status).toBe(200)
    expect(await exit).toEqual({ code: 143, signal: null })
    expect(broken).toEqual([])
    expect(answered).toBeGreaterThan(100)
    expect(refused).toBe(load.clients)
    const { routers: live } = await routed.data<Shown>(['route', 'show'])
    expect(live.map(({ instance }) => instance.split('/')[1])).toEqual([String(staying.pid)])
  })

  test('while the control database hangs it ends all the same', async () => {
    const [, last] = routers
    routed.control.freeze()
    const started = performance.now()
    expect(await last.stop('SIGTERM')).toEqual({ code: 143, signal: null })
    expect(last.stdout.all().at(-1)).toContain('"schema":"migrate.route-serve/1"')
    console.log(`ended ${Math.round(performance.now() - started)} ms after SIGTERM without its control database`)
    await routed.control.restore()
  })
})

interface Shown {
  readonly services: readonly { readonly service: string; readonly version: number }[]
  readonly routers: readonly { readonly instance: string; readonly version: number }[]
}

function set(percent: number): Promise<unknown> {
  return routed.data(['route', 'set', 'users', '--percent', String(percent)])
}

/** Milliseconds until each router sends this reader there. */
function obeyed(reader: string, side: string): Promise<number[]> {
  return routedTo(routers, reader, side)
}

/** Until some session waits for a lock. */
async function untilBlocked(client: pg.Client): Promise<void> {
  while ((await client.query(`select 1 from pg_locks where not granted`)).rows.length === 0) await sleep(5)
}

/** Clients that ask without a pause, each on its connection, until the router refuses a new one. */
function keepAsking(router: Router) {
  const clients = 8
  const { promise: running, resolve } = Promise.withResolvers<void>()
  let answered = 0
  let refused = 0
  const broken: string[] = []
  const client = async (index: number): Promise<void> => {
    const agent = new Agent({ connections: 1, pipelining: 1 })
    try {
      for (;;) {
        const user = String(410 + index)
        const reply = await (answered % 3 === 0
          ? ask(router.url, { path: `/users/${user}/points`, user, method: 'POST', body: { add: 1 }, agent })
          : ask(router.url, { path: `/users/${user}`, user, agent }))
        if (reply.status !== 200) broken.push(String(reply.status))
        answered += 1
        if (answered > 100) resolve()
      }
    } catch (error) {
      const { code = '', message } = error as NodeJS.ErrnoException
      if (code === 'ECONNREFUSED') refused += 1
      else broken.push(`${code} ${message}`)
    } finally {
      await agent.close()
    }
  }
  const ended = Promise.all(Array.from({ length: clients }, (_, index) => client(index))).then(() => ({
    ...{ answered, refused, broken },
  }))
  return { clients, running, ended }
}
