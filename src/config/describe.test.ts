import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeConfig } from './describe.ts'
import { mask } from './mask.ts'

const CONFIG = `project: shop
monolith: { database: "\${MONOLITH}", http: "http://\${HOST:-127.0.0.1}:3000" }
control: { url: "\${CONTROL:-}" }
services:
  users:
    http: http://127.0.0.1:3001
    tables: [users]
    stores: [{ kind: postgres, url: { file: secret.txt } }]
`
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'migrate-describe-'))
  writeFileSync(join(folder, 'migrate.yaml'), CONFIG)
  writeFileSync(join(folder, 'secret.txt'), 'postgres://users:hunter2@db/users\n')
  writeFileSync(join(folder, 'vars.env'), 'MONOLITH=postgres://app:hunter2@db/shop?sslpassword=hunter2\n')
})
afterAll(() => rmSync(folder, { recursive: true }))

test('every value has its origin, and none its secret', async () => {
  const path = join(folder, 'migrate.yaml')
  const described = await describeConfig({ path, envFile: join(folder, 'vars.env'), env: {} })
  const at = (line: number, column: number) => `${path}:${line}:${column}`
  expect(described).toEqual([
    { key: 'project', value: 'shop', origin: { kind: 'written', at: at(1, 10) } },
    {
      key: 'monolith.database',
      value: 'postgres://app@db/shop?sslpassword=***',
      origin: { kind: 'variable', at: at(2, 23), variables: [{ name: 'MONOLITH', from: 'env-file' }] },
    },
    {
      key: 'monolith.http',
      value: 'http://127.0.0.1:3000',
      origin: { kind: 'variable', at: at(2, 44), variables: [{ name: 'HOST', from: 'unset' }] },
    },
    { key: 'router.listen.host', value: '127.0.0.1', origin: { kind: 'default' } },
    { key: 'router.listen.port', value: '8080', origin: { kind: 'default' } },
    { key: 'services.users.http', value: 'http://127.0.0.1:3001', origin: { kind: 'written', at: at(6, 11) } },
    { key: 'services.users.tables.users', value: '{}', origin: { kind: 'written', at: at(7, 14) } },
    { key: 'services.users.routes', value: '[]', origin: { kind: 'default' } },
    { key: 'services.users.idempotent', value: 'true', origin: { kind: 'default' } },
    { key: 'services.users.maxRequestTime', value: '60000', origin: { kind: 'default' } },
    { key: 'services.users.slot.detachRatio', value: '0.5', origin: { kind: 'default' } },
    { key: 'services.users.slot.detachBytes', value: '10737418240', origin: { kind: 'default' } },
    { key: 'services.users.stores[0].kind', value: 'postgres', origin: { kind: 'written', at: at(8, 22) } },
    {
      key: 'services.users.stores[0].url',
      value: 'postgres://users@db/users',
      origin: { kind: 'file', at: at(8, 37), file: 'secret.txt' },
    },
  ])
  expect(JSON.stringify(described)).not.toContain('hunter2')
})

test('the environment wins over --env-file', async () => {
  const path = join(folder, 'migrate.yaml')
  const env = { MONOLITH: 'postgres://x:hunter2@other/shop' }
  const [, database] = await describeConfig({ path, envFile: join(folder, 'vars.env'), env })
  expect(database).toMatchObject({
    value: 'postgres://x@other/shop',
    origin: { variables: [{ name: 'MONOLITH', from: 'environment' }] },
  })
})

test.each([
  [['a', 'password'], 'x', false, '***'],
  [['alerts', 'webhook'], 'https://hooks.example/T0/B1', false, '***'],
  [['a', 'key'], 'plain text', true, '***'],
  [['a', 'key'], 'not a URL postgres://u:p@', false, '***'],
  [['a', 'key'], 'text', false, 'text'],
  [['a', 0], 7, false, '7'],
])('%j: %j is shown so that no secret is in it', (path, value, fromFile, shown) => {
  expect(mask(path, value, fromFile)).toBe(shown)
})
