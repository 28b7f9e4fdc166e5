import { afterAll, beforeAll, expect, test } from 'vitest'
import { enqueue, inTransaction, readOutbox } from '../../src/index.ts'
import { diedAt, frozenAt, startProgram } from '../support/crash.ts'
import { type Messaging, startMessaging, until } from '../support/messaging.ts'

let world: Messaging | null
beforeAll(async () => {
  world = await startMessaging('relay')
}, 180_000)
afterAll(() => world?.[Symbol.asyncDispose]())

const KEYS = 7
let sent = 0

/** Some transactions; every third one is rolled back. */
async function write({ db }: Messaging, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const message = {
      aggregateType: 'relayed',
      aggregateId: String(sent % KEYS),
      type: 'Counted',
      payload: { n: sent },
    }
    await inTransaction(db.pool, async (tx) => {
      await enqueue(tx, [message])
      if (i % 3 === 2) throw new Error('rolled back')
      sent += 1
    }).catch(() => undefined)
  }
}

function relay({ db, kafka }: Messaging, failpoint?: Parameters<typeof startProgram>[1]) {
  const env = { DATABASE_URL: db.url, BROKERS: kafka.brokers.join(',') }
  return startProgram({ name: 'relay', env, ready: /relaying/, logs: db.server.folder }, failpoint)
}

const drained = async ({ db }: Messaging): Promise<boolean> => (await readOutbox(db.pool)).waiting === 0

test('killed at every place, frozen, with a broker that crashes: nothing is lost, order is kept', async (context) => {
  if (world === null) return context.skip('there is no Kafka on this machine')
  await world.createTopic('outbox.event.relayed', 3)
  for (const name of ['outbox.read', 'outbox.published', 'outbox.deleted']) {
    await write(world, 150)
    await using killed = await relay(world, { name })
    await diedAt(killed, name)
  }
  const asleep = { from: sent, to: 0 }
  {
    await write(world, 150)
    asleep.to = sent
    await using frozen = await relay(world, { name: 'outbox.read', action: 'stop' })
    await frozenAt(frozen, 'outbox.read')
    await using next = await relay(world)
    // takes over although the other one lives, and what that one does when it wakes is refused
    await until('drained', () => drained(world as Messaging))
    process.kill(frozen.pid, 'SIGCONT')
    await write(world, 60)
    await until('drained', () => drained(world as Messaging))
    await world.broker.kill9()
    await write(world, 60)
    await world.broker.restart()
    await until('drained', () => drained(world as Messaging), 60_000)
    await Promise.all([next.stop('SIGTERM'), frozen.stop('SIGTERM')])
  }
  const messages = await world.readTopic('outbox.event.relayed')
  // a repetition has the id of the first one; what is left has to be complete and in order
  const seen = new Set<string>()
  const firsts = messages.filter(({ headers }) => {
    const id = String(headers?.id)
    return !seen.has(id) && seen.add(id)
  })
  const n = ({ value }: (typeof messages)[number]): number => (JSON.parse(String(value)) as { n: number }).n
  const of = (key: number) =>
    firsts
      .filter((each) => String(each.key) === String(key))
      .map(({ value }) => (JSON.parse(String(value)) as { n: number }).n)
  for (let key = 0; key < KEYS; key++) {
    expect(of(key)).toEqual(Array.from({ length: sent }, (_, n) => n).filter((n) => n % KEYS === key))
  }
  expect(messages.length).toBeGreaterThan(firsts.length)
  // what the one that slept had read, the other one has published; it was refused
  const slept = messages.map(n).filter((each) => each >= asleep.from && each < asleep.to)
  expect(slept.length).toBe(asleep.to - asleep.from)
})
