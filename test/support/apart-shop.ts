// The worked example with a control database of its own, on a server of its own that can be stopped and killed.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { type Shop, type ShopOptions, startShop } from '../../fixtures/demo/shop.ts'
import { freePort } from '../../fixtures/servers/free-port.ts'
import { type PostgresServer, startPostgres } from '../../fixtures/servers/postgres.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import { descendants } from './processes.ts'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts'

export interface ApartShop extends Shop {
  readonly controlServer: PostgresServer
  /** the control database, as superuser */
  readonly controlUrl: string
  /** a router with ways of its own to its databases */
  startRouterApart(): Promise<RouterApart>
}

export type RouterApart = RunningProcess & {
  readonly url: string
  /** its name in the control database */
  readonly instance: string
  readonly ways: { readonly control: TcpProxy; readonly monolith: TcpProxy }
}

export async function startApartShop(stack: AsyncDisposableStack, options: ShopOptions): Promise<ApartShop> {
  const shop = stack.use(await startShop(options))
  const controlServer = stack.use(await startPostgres({ name: 'control' }))
  const login = await createControl(controlServer)
  const config = join(shop.folder, 'with-control.yaml')
  const text = await readFile(shop.config, 'utf8')
  await writeFile(config, `${text}control: { url: "\${CONTROL_DATABASE_URL}" }\n`)
  const env = { ...shop.env, CONTROL_DATABASE_URL: login }
  const startCli: Shop['startCli'] = (args, more = {}, ready) =>
    shop.startCli([...args, '--config', config], { CONTROL_DATABASE_URL: login, ...more }, ready)

  return {
    ...shop,
    ...{ config, env, controlServer, controlUrl: controlServer.url('control'), startCli },
    startSync: (more = {}) => startCli(['sync', 'users'], more, FOLLOWING),
    startRouter: () => startRouter(startCli, {}),
    async startRouterApart() {
      const control = stack.use(await startTcpProxy({ host: '127.0.0.1', port: controlServer.port }))
      const monolith = stack.use(await startTcpProxy({ host: '127.0.0.1', port: shop.monolithServer.port }))
      const router = await startRouter(startCli, {
        CONTROL_DATABASE_URL: through(login, control),
        MONOLITH_DATABASE_URL: through(shop.monolith.apply, monolith),
      })
      // before its ways: without its databases its end takes longer
      stack.defer(async () => void (await router.stop()))
      return Object.assign(router, { ways: { control, monolith } })
    },
    cli: (args, more = {}, signal) =>
      shop.cli([...args, '--config', config], { CONTROL_DATABASE_URL: login, ...more }, signal),
  }
}

/** Stops every process of a server: it keeps its connections and answers nobody, until it is thawed. */
export function freezeServer(server: PostgresServer): { thaw(): void } {
  process.kill(server.pid, 'SIGSTOP')
  const all = [server.pid, ...descendants(server.pid).map(({ pid }) => pid)]
  for (const pid of all) tell(pid, 'SIGSTOP')
  return {
    thaw() {
      for (const pid of all) tell(pid, 'SIGCONT')
    },
  }
}

function tell(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    // it ended between the listing and now
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

const FOLLOWING = /"event":"following","direction":"forward"/

async function startRouter(startCli: Shop['startCli'], env: NodeJS.ProcessEnv) {
  const args = ['route', 'serve', '--listen', `127.0.0.1:${await freePort()}`]
  const running = await startCli(args, env, /"event":"listening","url":"(http[^"]+)","instance":"([^"]+)"/)
  const [, url = '', instance = ''] = running.ready ?? []
  return Object.assign(running, { url, instance })
}

async function createControl(server: PostgresServer): Promise<string> {
  const admin = new pg.Client(server.url('postgres'))
  await admin.connect()
  await admin.query(`create role migrate_apply login password 'control'`)
  await admin.query('create database control owner migrate_apply')
  await admin.end()
  return server.url('control', 'migrate_apply', 'control')
}

function through(url: string, { port }: TcpProxy): string {
  const changed = new URL(url)
  changed.port = String(port)
  return changed.href
}
