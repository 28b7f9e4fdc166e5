// The shop with connections to both sides, for what happens to its slots.
import pg from 'pg'
import { type Shop, startShop } from '../../fixtures/demo/shop.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import { eventually } from './two-sides.ts'

export const SLOT = 'migrate_shop_users'
export const BACK = 'migrate_shop_users_back'

export interface SlotShop extends AsyncDisposable {
  readonly shop: Shop
  readonly sides: { monolith: pg.Client; users: pg.Client }
  /** runs a command; its exit code, and the first issue or the data of its result */
  run(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Answer>
  /** again after a restart of a server */
  connect(): Promise<void>
  /** a connection of its own */
  client(url: string): Promise<pg.Client>
  value<T>(side: 'monolith' | 'users', sql: string): Promise<T>
}

export interface Answer {
  readonly code: number | null
  readonly issue: { readonly code: string; readonly message: string; readonly hint: string } | undefined
  readonly data: unknown
}

export async function startSlotShop(): Promise<SlotShop> {
  const shop = await startShop({ size: 'small' })
  const opened: pg.Client[] = []
  const open = async (connectionString: string): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString, application_name: 'test' })
    // some tests restart its server
    client.on('error', () => undefined)
    await client.connect()
    opened.push(client)
    return client
  }
  const sides = { monolith: await open(shop.monolith.superuser), users: await open(shop.users.superuser) }
  return {
    shop,
    sides,
    client: open,
    async run(args, env) {
      const { code, stdout } = await shop.cli(args, env)
      return { code, ...lastResult(stdout) }
    },
    async connect() {
      await Promise.all(opened.splice(0).map((each) => each.end()))
      Object.assign(sides, { monolith: await open(shop.monolith.superuser), users: await open(shop.users.superuser) })
    },
    async value<T>(side: 'monolith' | 'users', sql: string) {
      const { rows } = await sides[side].query<{ value: T }>(`select (${sql}) as value`)
      return rows[0]?.value as T
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(opened.map((each) => each.end()))
      await shop[Symbol.asyncDispose]()
    },
  }
}

/** The exit code and the error, in one line: a surprise says what it is. */
export function outcome({ code, issue }: Answer): string {
  if (issue === undefined) return `${code}`
  return `${code} ${issue.code}${issue.code === 'INTERNAL' ? ` ${issue.message}` : ''}`
}

/** The result that a command ended with: the last line of its stdout. */
function lastResult(stdout: string): Omit<Answer, 'code'> {
  const { issues, data } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as {
    issues: Answer['issue'][]
    data: unknown
  }
  return { issue: issues[0], data }
}

/** The end of a worker that was left running. */
export async function endOf(worker: RunningProcess): Promise<Answer> {
  const { code } = await worker.exited
  return { code, ...lastResult(worker.stdout.text()) }
}

/** Writes so many MiB into the log of the server, into nobody's table. */
export async function fillLog(client: pg.Client, mebibytes: number): Promise<void> {
  const message = `select pg_logical_emit_message(false, 'test', repeat('x', 1048576)) from generate_series(1, ${mebibytes})`
  // what a slot keeps is counted to the end of what is on the disk
  await client.query(`select count(*) from (${message}) filled`)
  await client.query('checkpoint')
}

/** Ends the session that reads a slot, and drops it, as somebody else would. */
export async function dropSlotOf(client: pg.Client, slot: string): Promise<void> {
  await eventually(
    async () => {
      await client.query(
        `select pg_terminate_backend(active_pid, 5000) from pg_replication_slots where slot_name = $1 and active`,
        [slot],
      )
      return client.query(`select pg_drop_replication_slot($1)`, [slot]).then(
        () => true,
        () => false,
      )
    },
    (dropped) => dropped,
  )
}
