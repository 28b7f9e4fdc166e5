// The code and the commands of docs/how-to/events.md, as a reader would type them.
import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { migrate } from '../support/cli.ts'
import { codeBlocks, documentedPrograms } from '../support/documented.ts'
import { type Eventing, startEventing } from '../support/eventing.ts'
import { eventingConfig } from '../support/eventing-config.ts'

const PAGE = 'how-to/events.md'
const env = { PATH: process.env.PATH, HOME: process.env.HOME }

let db: Eventing
let config: string
beforeAll(async () => {
  db = await startEventing({ name: 'events-docs' })
  config = await eventingConfig(db)
})
afterAll(() => db[Symbol.asyncDispose]())

test('the code has the types that it needs, and does what the page says', async () => {
  await using documented = await documentedPrograms('events', [PAGE])
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', documented.program(PAGE)],
    { encoding: 'utf8', env: { ...env, DATABASE_URL: db.url } },
  )
  expect(stdout + stderr).toBe(`order-1 is at version 2
OrderCreated { items: [ 'book' ], total: '12.00' }
OrderPaid { paymentId: 'p-7' }
{ paymentId: 'p-8', method: 'card' }
[
  { order_id: 'order-1', status: 'OrderCancelled' },
  { order_id: 'order-2', status: 'OrderCancelled' }
]
`)
})

test('the commands end with 0', async () => {
  const lines = (await codeBlocks(PAGE, 'sh')).join('').trim().split('\n')
  expect(lines.length).toBeGreaterThan(3)
  for (const line of lines) {
    const args = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? '').slice(1)
    const { code, stdout, stderr } = await migrate(['-c', config, ...args], env)
    expect({ line, code, stderr: code === 0 ? '' : stderr }).toEqual({ line, code: 0, stderr: '' })
    expect(stdout).not.toBe('')
  }
})
