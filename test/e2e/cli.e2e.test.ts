import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const CLI = join(import.meta.dirname, '../../dist/src/cli.js')
const SECRET = 'hunter2'
const CONFIG = `project: shop
monolith: { database: "\${MONOLITH}", http: http://127.0.0.1:3000 }
services:
  users:
    http: http://127.0.0.1:3001
    tables: [users]
    stores: [{ kind: postgres, url: postgres://u@localhost/users }]
`
const MONOLITH = `postgres://app:${SECRET}@localhost:5432/shop`

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'migrate-cli-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('config validate', () => {
  test('accepts a valid file', async () => {
    const { code, stdout, stderr } = await validate(CONFIG, { MONOLITH })
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('is valid: project shop, 1 service(s)')
  })

  test('names the file that is not there, and an example', async () => {
    const { code, stdout, stderr } = await migrate(['config', 'validate'])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(/^✖ CONFIG_MISSING {2}there is no configuration file at migrate\.yaml\n {2}Do: /)
  })

  test('names an unknown key, its place and the nearest one', async () => {
    const { code, stderr } = await validate(CONFIG.replace('tables:', 'tabels:'), { MONOLITH })
    expect(code).toBe(2)
    expect(stderr).toContain('migrate.yaml:6:5: unknown key "tabels" in services.users. Did you mean "tables"?')
  })

  test('names a variable that is not set', async () => {
    const { code, stderr } = await validate(CONFIG, {})
    expect(code).toBe(2)
    expect(stderr).toContain('migrate.yaml:2:23: the environment variable MONOLITH is not set')
  })

  test.each([[[]], [['-v']], [['--json']], [['--json', '-v']]])(
    'never prints the password of a wrong URL %j',
    async (flags) => {
      const { code, stdout, stderr } = await validate(CONFIG, { MONOLITH: `mysql://app:${SECRET}@db/shop` }, flags)
      expect(code).toBe(2)
      expect(stdout + stderr).toContain('monolith.database is not a postgres URL')
      expect(stdout + stderr).not.toContain(SECRET)
    },
  )

  test('answers with one JSON object', async () => {
    const { code, stdout, stderr } = await validate(CONFIG, { MONOLITH }, ['--json'])
    expect([code, stderr]).toEqual([0, ''])
    expect(JSON.parse(stdout)).toMatchObject({
      schema: 'migrate.config-validate/1',
      ok: true,
      status: 'ok',
      issues: [],
    })
  })

  test('gives the place of an error in JSON', async () => {
    const { code, stdout, stderr } = await validate(CONFIG, {}, ['--json'])
    expect([code, stderr]).toEqual([2, ''])
    expect(JSON.parse(stdout)).toMatchObject({
      schema: 'migrate.error/1',
      ok: false,
      issues: [{ code: 'CONFIG_VARIABLE_UNSET', at: { line: 2, col: 23 } }],
    })
  })
})

describe('the command line', () => {
  test('suggests the command that a typo meant, and does not run it', async () => {
    const { code, stdout, stderr } = await migrate(['confg', 'validate'])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain("✖ USAGE  unknown command 'confg'. Did you mean config?")
  })

  test('answers --help within 300 ms', async () => {
    await migrate(['--help'])
    const started = performance.now()
    const { code, stdout } = await migrate(['--help'])
    expect(performance.now() - started).toBeLessThan(300)
    expect(code).toBe(0)
    expect(stdout).toContain('Usage: migrate')
  })

  test('prints no colours into a pipe', async () => {
    const { stdout, stderr } = await migrate(['explain', 'LOCKED'], { FORCE_COLOR: '1' })
    expect(stdout + stderr).not.toContain('\u001b')
  })

  test('ends quietly when nobody reads its output', async () => {
    const child = spawn(process.execPath, [CLI, 'config', 'schema'], { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.destroy()
    const stderr = text(child.stderr)
    expect(await exitCode(child)).toBe(0)
    expect(await stderr).toBe('')
  })

  test('writes all of a long result into a slow pipe', async () => {
    const { stdout } = await migrate(['config', 'schema', '--json'])
    expect(JSON.parse(stdout).data.properties).toHaveProperty('services')
  })

  test('refuses an old Node.js before it loads anything', async () => {
    const pretend = 'data:text/javascript,Object.defineProperty(process,"versions",{value:{node:"22.18.0"}})'
    const old = await migrate(['--help'], {}, ['--import', pretend])
    expect([old.code, old.stdout]).toEqual([2, ''])
    expect(old.stderr).toContain('✖ NODE_TOO_OLD  Node.js 22.18.0 is too old')
  })
})

async function validate(config: string, env: Record<string, string>, flags: readonly string[] = []) {
  const path = join(folder, 'migrate.yaml')
  writeFileSync(path, config)
  return await migrate(['config', 'validate', '-c', path, ...flags], env)
}

async function migrate(args: readonly string[], env: Record<string, string> = {}, node: readonly string[] = []) {
  const child = spawn(process.execPath, [...node, CLI, ...args], {
    cwd: tmpdir(),
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [code, stdout, stderr] = await Promise.all([exitCode(child), text(child.stdout), text(child.stderr)])
  return { code, stdout, stderr }
}

async function exitCode(child: ReturnType<typeof spawn>): Promise<number | null> {
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.once('close', resolve)
  child.once('error', reject)
  return await promise
}

async function text(stream: NodeJS.ReadableStream): Promise<string> {
  let all = ''
  for await (const chunk of stream) all += chunk.toString()
  return all
}
