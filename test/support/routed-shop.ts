import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Agent, request } from 'undici'
import { type Shop, startShop } from '../../fixtures/demo/shop.ts'
import { freePort } from '../../fixtures/servers/free-port.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import { bucketOf } from '../../src/router/bucket.ts'
import { type CliResult, migrate } from './cli.ts'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts'

export type Router = RunningProcess & { readonly url: string }

/** The shop with a control database of its own, behind a way that can be cut. */
export interface RoutedShop extends AsyncDisposable {
  readonly shop: Shop
  readonly control: TcpProxy
  /** a session in the control database, past the proxy */
  readonly controlSql: pg.Client
  startRouter(): Promise<Router>
  startSync(): Promise<RunningProcess>
  run(args: readonly string[]): Promise<CliResult>
  /** `run` that must succeed; the data of its answer */
  data<T>(args: readonly string[]): Promise<T>
}

export async function startRoutedShop(): Promise<RoutedShop> {
  const stack = new AsyncDisposableStack()
  try {
    const shop = stack.use(await startShop({ size: 'small' }))
    const { monolithServer } = shop
    const admin = new pg.Client(monolithServer.url('postgres'))
    await admin.connect()
    await admin.query('create database control owner migrate_apply')
    await admin.end()
    const control = stack.use(await startTcpProxy({ host: '127.0.0.1', port: monolithServer.port }))
    const controlSql = new pg.Client(monolithServer.url('control'))
    await controlSql.connect()
    stack.defer(() => controlSql.end())

    const url = new URL(shop.monolith.apply)
    ;[url.port, url.pathname] = [String(control.port), '/control']
    const config = join(shop.folder, 'with-control.yaml')
    await writeFile(config, `${await readFile(shop.config, 'utf8')}control: { url: "${url.href}" }\n`)
    const run = (args: readonly string[]) => migrate(['-c', config, ...args], shop.env)
    return {
      ...{ shop, control, controlSql, run },
      async startRouter() {
        const args = ['route', 'serve', '--listen', `127.0.0.1:${await freePort()}`, '--config', config]
        const running = await shop.startCli(args, {}, /"event":"listening","url":"(http[^"]+)"/)
        return Object.assign(running, { url: running.ready?.[1] ?? '' })
      },
      startSync: () => shop.startCli(['sync', 'users', '--config', config], {}, /"event":"following"/),
      async data<T>(args: readonly string[]) {
        const { code, stdout, stderr } = await run([...args, '--json'])
        if (code !== 0) throw new Error(`migrate ${args.join(' ')} ended with ${code}: ${stdout}${stderr}`)
        return (JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as { data: T }).data
      },
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

export interface Reply {
  readonly status: number
  /** header x-migrate-side: who answered, in the router's words */
  readonly side: string
  /** header x-shop-side: who answered, in their own */
  readonly shop: string
  readonly body: { readonly id?: number; readonly loyaltyPoints?: number; readonly name?: string }
}

/** One request as a user of the shop; rejects when no whole answer comes. */
export async function ask(
  origin: string,
  call: { path: string; user: string; method?: 'GET' | 'POST' | 'PATCH'; body?: object; agent?: Agent },
): Promise<Reply> {
  const { path, user, method = 'GET', body, agent } = call
  const {
    statusCode,
    headers,
    body: answer,
  } = await request(`${origin}${path}`, {
    method,
    headers: { 'x-user-id': user, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
    ...(agent && { dispatcher: agent }),
  })
  const side = String(headers['x-migrate-side'])
  return {
    status: statusCode,
    side,
    shop: String(headers['x-shop-side']),
    body: (await answer.json()) as Reply['body'],
  }
}

/** Keys of readers whose buckets lie in this range of percents, as many as wanted. */
export function readersIn(from: number, to: number, count: number): string[] {
  const keys: string[] = []
  for (let n = 1; keys.length < count; n++) {
    const percent = bucketOf(`reader-${n}`) / 1_000
    if (percent >= from && percent < to) keys.push(`reader-${n}`)
  }
  return keys
}

export function add(router: Router, user: string): Promise<Reply> {
  return ask(router.url, { path: `/users/${user}/points`, user, method: 'POST', body: { add: 1 } })
}

/** Milliseconds until each router sends this reader there; they are asked all the time. */
export function routedTo(routers: readonly Router[], reader: string, side: string): Promise<number[]> {
  const started = performance.now()
  return Promise.all(
    routers.map(async ({ url }) => {
      for (;;) {
        const { side: now } = await ask(url, { path: '/users/1', user: reader })
        const waited = performance.now() - started
        if (now === side) return waited
        if (waited > 20_000) throw new Error(`after ${waited} ms ${url} still sends ${reader} to ${now}`)
        await sleep(2)
      }
    }),
  )
}

/** As `Promise.all` over the items, with eight under way at most. */
export async function each<T>(keys: readonly string[], work: (key: string, index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    for (let i = next++; i < keys.length; i = next++) results[i] = await work(keys[i] ?? '', i)
  }
  await Promise.all(Array.from({ length: 8 }, lane))
  return results
}
