import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CommandDefinition } from '../../src/commands/command.ts'
import { COMMANDS } from '../../src/commands/index.ts'
import { CLI, exitCode, fastest, migrate, textOf } from '../support/cli.ts'

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

  test.each(['', ...namesOf(COMMANDS)])('answers migrate %s --help', async (name) => {
    const args = [...name.split(' ').filter(Boolean), '--help']
    const { code, stdout, stderr } = await migrate(args)
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain(`Usage: ${['migrate', ...args.slice(0, -1)].join(' ')} `)
    if (name === '') return
    const examples = stdout.slice(stdout.indexOf('Examples:\n')).trimEnd().split('\n').slice(1)
    expect(examples).toHaveLength(3)
    for (const example of examples) expect(example).toMatch(new RegExp(`^ {2}migrate ${name.split(' ')[0]}`))
  })

  test.each([[[]], [['sync']], [['saga', 'show']]])('%j --help comes within 300 ms', async (args) => {
    expect(await fastest(300, [...args, '--help'])).toBeLessThan(300)
  })

  test.each([[[]], [['route']], [['config']]])('%j alone shows the help on stderr and exits 2', async (args) => {
    const { code, stdout, stderr } = await migrate(args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('Usage: migrate')
  })

  test('prints no colours into a pipe', async () => {
    const { stdout, stderr } = await migrate(['explain', 'LOCKED'], { FORCE_COLOR: '1' })
    expect(stdout + stderr).not.toContain('\u001b')
  })

  test('ends quietly when nobody reads its output', async () => {
    const child = spawn(process.execPath, [CLI, 'config', 'schema'], { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.destroy()
    const stderr = textOf(child.stderr)
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

/** `route`, `route serve`, … */
function namesOf(definitions: readonly CommandDefinition[], above = ''): string[] {
  return definitions.flatMap((definition) => {
    const name = `${above}${definition.name}`
    return 'subcommands' in definition ? [name, ...namesOf(definition.subcommands, `${name} `)] : [name]
  })
}
