// The code of docs/how-to/outbox.md and docs/how-to/consumer.md, as a reader would run it: the one sends, the other receives.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Documented, documentedPrograms } from '../support/documented.ts'
import { type Messaging, startMessaging, until } from '../support/messaging.ts'

const TOPIC = 'outbox.event.order'

let world: Messaging | null
let documented: Documented
beforeAll(async () => {
  documented = await documentedPrograms('messaging', ['how-to/outbox.md', 'how-to/consumer.md'])
  world = await startMessaging('messaging-docs')
}, 180_000)
afterAll(async () => {
  await documented[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

/** Runs the program of a page until the condition holds, then ends it as an orchestrator does. What it printed. */
async function runUntil({ db, kafka }: Messaging, page: string, holds: (output: string) => Promise<boolean>) {
  const env = { PATH: process.env.PATH, DATABASE_URL: db.url, BROKERS: kafka.brokers.join(',') }
  const node = ['--disable-warning=ExperimentalWarning', '--disable-warning=TimeoutNegativeWarning']
  const child = spawn(process.execPath, [...node, documented.program(page)], { env })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += String(data)))
  const ended = once(child, 'close')
  await until(`what ${page} does`, async () => child.exitCode !== null || (await holds(output)))
  child.kill('SIGTERM')
  const [code] = await ended
  return { code, output }
}

test('the messages of one page are handled by the other, each once', { timeout: 120_000 }, async (context) => {
  if (world === null) return context.skip('there is no Kafka on this machine')
  const { db } = world
  const query = (text: string) => (world as Messaging).db.query(text)
  await world.createTopic(TOPIC, 2)
  expect(await runUntil(world, 'how-to/outbox.md', async (output) => /published/.test(output))).toEqual({
    code: 0,
    output: 'published 2\n{ waiting: 0, seconds: 0 }\n',
  })
  expect(await query(`select * from orders`)).toEqual([{ id: 'order-1', status: 'cancelled' }])

  // a relay that was killed sends again; somebody else sends what the schema refuses
  const again = (await world.readTopic(TOPIC)).map(({ key, value, headers }) => ({
    ...{ key: String(key), value: String(value) },
    headers: { id: String(headers?.id), type: String(headers?.type) },
  }))
  expect(again.map(({ headers: { type } }) => type)).toEqual(['OrderCreated', 'OrderCancelled'])
  const wrong = {
    key: 'order-2',
    value: '{"customer":"ben","cents":"many"}',
    headers: { id: 'w', type: 'OrderCreated' },
  }
  const last = { key: 'order-3', value: '{"customer":"eve","cents":500}', headers: { id: 'e', type: 'OrderCreated' } }
  await world.send(TOPIC, [...again, wrong, last])
  const { code, output } = await runUntil(world, 'how-to/consumer.md', async () => {
    const counted = `select count(*)::int as n from eventing.inbox`
    const letters = `select count(*)::int as n from eventing.dead_letter`
    const numbers = [await db.query<{ n: number }>(counted), await db.query<{ n: number }>(letters)]
    return numbers.map(([row]) => row?.n).join() === '7,2'
  })
  expect({ code, output }).toEqual({
    code: 0,
    output: expect.stringMatching(
      /^dead letter outbox\.event\.order \d+: a message of type OrderCreated .* 1 defect\(s\)\n$/,
    ),
  })
  expect(await query(`select * from points order by customer`)).toEqual([
    { customer: 'anna', points: 12 },
    { customer: 'eve', points: 5 },
  ])
  expect(await query(`select * from history order by order_id, what collate "C"`)).toEqual([
    { order_id: 'order-1', what: 'OrderCreated' },
    { order_id: 'order-1', what: 'sold out' },
    { order_id: 'order-3', what: 'OrderCreated' },
  ])
})
