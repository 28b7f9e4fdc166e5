// The code of docs/tutorial/first-saga.md, as a reader would run it, killed where the page says so. That of
// docs/how-to/sagas.md has the types that it needs.
import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { codeBlocks, type Documented, documentedPrograms } from '../support/documented.ts'
import { type Eventing, startEventing } from '../support/eventing.ts'

const PAGE = 'tutorial/first-saga.md'
let documented: Documented
let db: Eventing
beforeAll(async () => {
  documented = await documentedPrograms('tutorial', [PAGE, 'how-to/sagas.md'])
  db = await startEventing({ name: 'tutorial' })
}, 180_000)
afterAll(async () => {
  await documented[Symbol.asyncDispose]()
  await db?.[Symbol.asyncDispose]()
})

function booking(env: Record<string, string> = {}) {
  const { stdout, stderr, signal, status } = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', documented.program(PAGE)],
    { env: { PATH: process.env.PATH, DATABASE_URL: db.url, ...env }, encoding: 'utf8', timeout: 60_000 },
  )
  return { said: stdout + stderr, signal, status }
}

test('the first saga goes through, back, and survives its process', { timeout: 120_000 }, async () => {
  const [first = '', killed = ''] = await codeBlocks(PAGE, 'text')
  const printed = first.slice(first.indexOf('\n') + 1)
  // what the page shows behind both commands is the same
  expect(killed.endsWith(printed)).toBe(true)
  expect(booking({ MIGRATE_FAILPOINT: 'saga.called-execute-charge=kill' })).toMatchObject({
    signal: 'SIGKILL',
    said: '',
  })
  expect(await db.query(`select count(*)::int as n from payment`)).toEqual([{ n: 1 }])
  expect(booking()).toMatchObject({ status: 0, said: printed })
  expect(booking()).toMatchObject({ status: 0, said: printed })
})
