import { afterAll, beforeAll, expect, test } from 'vitest'
import { diedAt, frozenAt, startProgram } from '../support/crash.ts'
import { EFFECTS } from '../support/consumer.ts'
import { type Messaging, startMessaging, until, withAdmin } from '../support/messaging.ts'

// the soak gives 200,000
const RECORDS = Number(process.env.MIGRATE_CONSUMER_RECORDS ?? 6_000)
const KEYS = 1_000
const TOPIC = 'mix'

let world: Messaging | null
beforeAll(async () => {
  world = await startMessaging('consumer')
  await world?.db.query(EFFECTS)
  await world?.db.query(`create table attempt (n int primary key, tries int not null)`)
}, 180_000)
afterAll(() => world?.[Symbol.asyncDispose]())

interface Sent {
  readonly n: number
  readonly key: string
  readonly tries: number
  readonly poison: boolean
}

const all: Sent[] = Array.from({ length: RECORDS }, (_, n) => ({
  ...{ n, key: `k${(n * 7919) % KEYS}`, poison: n % 149 === 0 },
  // some succeed in place, some only after they were parked
  tries: n % 37 === 0 ? (n % 2 === 0 ? 1 : 5) : 0,
}))

const message = ({ n, key, tries, poison }: Sent) => ({
  ...{ key, value: JSON.stringify({ n, tries, poison }) },
  headers: { id: `id-${n}`, type: 'Counted' },
})

function start({ db, kafka }: Messaging, failpoint?: Parameters<typeof startProgram>[1]) {
  const env = { DATABASE_URL: db.url, BROKERS: kafka.brokers.join(',') }
  const program = { name: 'consume-mix', args: [TOPIC], env, ready: /consuming/, logs: db.server.folder }
  return startProgram(program, failpoint)
}

/** Sends the next part of all messages, some of them twice. */
let sent = 0
async function send(world: Messaging, share: number): Promise<void> {
  const part = all.slice(sent, sent + Math.ceil(RECORDS * share))
  await world.send(TOPIC, part.map(message))
  await world.send(TOPIC, part.filter(({ n }) => n % 11 === 0).map(message))
  sent += part.length
}

const FAILPOINTS = [
  ...(RECORDS > 10_000 ? ['consumer.before-commit', 'consumer.drained'] : []),
  ...['consumer.after-commit', 'consumer.parked', 'consumer.dead-letter-published'],
]

test('poison and transient failures under kill -9, rebalances, crashes of the broker, an expired group', {
  timeout: RECORDS > 10_000 ? 1_800_000 : 600_000,
}, async (context) => {
  if (world === null) return context.skip('there is no Kafka on this machine')
  await world.createTopic(TOPIC, 4)
  for (const name of FAILPOINTS) {
    await send(world, 0.1)
    await using killed = await start(world, { name })
    await diedAt(killed, name)
  }
  // its members are dead, but Kafka does not know yet
  await until('the group has no members', async () => await emptied(world as Messaging), 180_000)
  await withAdmin(world.client, (admin) => admin.deleteGroups(['mix']))
  {
    await send(world, 0.1)
    await using frozen = await start(world, { name: 'consumer.before-commit', action: 'stop' })
    await frozenAt(frozen, 'consumer.before-commit')
    await using other = await start(world)
    for (let i = 0; i < 3; i++) {
      await send(world, 0.1)
      await using joining = await start(world)
      await progress(world, 20)
      await joining.stop('SIGTERM')
    }
    await world.broker.kill9()
    await world.broker.restart()
    process.kill(frozen.pid, 'SIGCONT')
    await send(world, 1)
    await finished(world)
    await Promise.all([other.stop('SIGTERM'), frozen.stop('SIGTERM')])
  }
  await verify(world)
})

async function emptied({ client }: Messaging): Promise<boolean> {
  const { groups } = await withAdmin(client, (admin) => admin.describeGroups(['mix']))
  return groups[0]?.members.length === 0
}

async function count({ db }: Messaging, table: string): Promise<number> {
  const [row] = await db.query<{ n: number }>(`select count(*)::int as n from ${table}`)
  return row?.n ?? 0
}

/** Waits for some more effects. */
async function progress(world: Messaging, more: number): Promise<void> {
  const before = await count(world, 'effect')
  await until('progress', async () => (await count(world, 'effect')) >= before + more, 180_000)
}

async function finished(world: Messaging): Promise<void> {
  const good = all.filter(({ poison }) => !poison).length
  const patience = RECORDS > 10_000 ? 1_500_000 : 300_000
  await until('all effects', async () => (await count(world, 'effect')) >= good, patience)
  await until('nothing is parked', async () => (await count(world, 'eventing.parked_key')) === 0, patience)
  await until('all letters', async () => (await count(world, 'eventing.dead_letter')) >= RECORDS - good, patience)
}

async function verify(world: Messaging): Promise<void> {
  const { db } = world
  const effects = await db.query<{ key: string; n: number }>(`select key, n from effect order by id`)
  const poison = all.filter((each) => each.poison).map(({ n }) => n)
  const byKey = Map.groupBy(effects, ({ key }) => key)
  const wanted = Map.groupBy(
    all.filter((each) => !each.poison),
    ({ key }) => key,
  )
  for (const [key, list] of wanted) {
    expect([key, byKey.get(key)?.map(({ n }) => n)]).toEqual([key, list.map(({ n }) => n)])
  }
  expect(effects.length).toBe(RECORDS - poison.length)
  const letters = await db.query<{ n: number }>(
    `select (convert_from(value, 'utf8')::json->>'n')::int as n from eventing.dead_letter order by 1`,
  )
  expect(letters.map(({ n }) => n)).toEqual(poison)
  const published = new Set((await world.readTopic(`${TOPIC}-dlt`)).map(({ headers }) => String(headers?.id)))
  expect(published).toEqual(new Set(poison.map((n) => `id-${n}`)))
}
