// The code and the commands of docs/how-to/events.md, as a reader would type them.
import { spawnSync } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { migrate } from '../support/cli.ts'
import { type Eventing, startEventing } from '../support/eventing.ts'
import { eventingConfig } from '../support/eventing-config.ts'

const ROOT = join(import.meta.dirname, '../..')
/** inside the package, so that its own name leads to what was built */
const FOLDER = join(ROOT, 'dist/examples')
const env = { PATH: process.env.PATH, HOME: process.env.HOME }

let db: Eventing
let config: string
beforeAll(async () => {
  db = await startEventing({ name: 'events-docs' })
  config = await eventingConfig(db)
  await mkdir(FOLDER, { recursive: true })
})
afterAll(async () => {
  await rm(FOLDER, { recursive: true, force: true })
  await db[Symbol.asyncDispose]()
})

async function blocks(language: string): Promise<string[]> {
  const page = await readFile(join(ROOT, 'docs/how-to/events.md'), 'utf8')
  return [...page.matchAll(/^```(\w+)\n(.*?)^```$/gms)]
    .filter(([, name]) => name === language)
    .map(([, , text]) => text ?? '')
}

test('the code has the types that it needs, and does what the page says', async () => {
  const code = await blocks('ts')
  expect(code.length).toBeGreaterThan(6)
  await writeFile(join(FOLDER, 'events.ts'), code.join('\n'))
  // without outDir the files of dist would be passed over
  const compilerOptions = { rootDir: '../..', outDir: './out' }
  await writeFile(
    join(FOLDER, 'tsconfig.json'),
    JSON.stringify({ extends: '../../tsconfig.json', compilerOptions, include: ['*.ts'] }),
  )
  const node = (...args: string[]): string => {
    const { stdout, stderr } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
      ...{ encoding: 'utf8', env: { ...env, DATABASE_URL: db.url } },
    })
    return stdout + stderr
  }
  expect(node(join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', FOLDER)).toBe('')
  expect(node(join(FOLDER, 'events.ts'))).toBe(`order-1 is at version 2
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
  const lines = (await blocks('sh')).join('').trim().split('\n')
  expect(lines.length).toBeGreaterThan(3)
  for (const line of lines) {
    const args = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? '').slice(1)
    const { code, stdout, stderr } = await migrate(['-c', config, ...args], env)
    expect({ line, code, stderr: code === 0 ? '' : stderr }).toEqual({ line, code: 0, stderr: '' })
    expect(stdout).not.toBe('')
  }
})
