import { describe, expect, test } from 'vitest'
import { MigrateError } from '../errors.ts'
import { type CommandContext, type CommandDefinition, defineCommand } from './command.ts'
import { createOutput } from './output.ts'
import { runProgram } from './program.ts'

describe('arguments and options', () => {
  test('reach the command, global ones before or after its name', async () => {
    const seen: unknown[] = []
    const command = serve((context, args, options) => seen.push([context.global, args, options]))
    expect(
      (await run(['-c', 'a.yaml', 'route', 'set', 'users', '--percent', '25', '--json', '-v'], command)).code,
    ).toBe(0)
    const global = { config: 'a.yaml', json: true, verbose: true, color: true, percent: '25' }
    expect(seen).toEqual([[global, ['users'], { percent: '25' }]])
  })

  test.each([
    [['snyc'], "unknown command 'snyc'", 'migrate --help'],
    [['rout', 'set'], "unknown command 'rout'. Did you mean route?", 'migrate --help'],
    [['route', 'st'], "unknown command 'st'. Did you mean set?", 'migrate route --help'],
    [
      ['route', 'set', 'users', '--percnt', '1'],
      "unknown option '--percnt'. Did you mean --percent?",
      'route set --help',
    ],
    [['route', 'set'], "missing required argument 'service'", 'migrate route set --help'],
    [['route', 'set', 'a', 'b'], "too many arguments for 'set'. Expected 1 argument but got 2: a, b.", 'set --help'],
    [['-c'], "option '-c, --config <path>' argument missing", 'migrate --help'],
  ])('%j is a usage error', async (argv, message, hint) => {
    const { code, stderr, stdout } = await run(argv)
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain(`✖ USAGE  ${message}`)
    expect(stderr).toContain(`${hint}\``)
  })

  test.each([[[]], [['route']]])('%j prints the help on stderr', async (argv) => {
    const { code, stderr, stdout } = await run(argv)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('Usage: migrate')
  })

  test('no command is an error in JSON too', async () => {
    const { code, stdout } = await run(['--json'])
    expect(code).toBe(2)
    expect(JSON.parse(stdout)).toMatchObject({ schema: 'migrate.error/1', issues: [{ message: 'no command given' }] })
  })

  test('--help shows options and examples', async () => {
    const { code, help } = await run(['route', 'set', '--help'])
    expect(code).toBe(0)
    expect(help).toContain('Usage: migrate route set [options] <service>')
    expect(help).toContain('Examples:\n  one\n  two\n  three')
  })

  test('--version prints the version', async () => {
    expect((await run(['--version'])).help).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})

test.each([
  [[], ''],
  [['-c', 'migrate.yaml'], ''],
  [['-c', 'shop/prod.yaml', '--env-file', '.env'], ' -c shop/prod.yaml --env-file .env'],
  [['-c', "ann's shop.yaml"], String.raw` -c 'ann'\''s shop.yaml'`],
])('proposes commands with the configuration of %j', async (argv, options) => {
  const nextSteps = [{ cmd: 'migrate status', why: 'look' }]
  const done = serve(({ output }) =>
    output.result({ schema: 'migrate.a/1', status: 'ok', data: null, nextSteps }, () => 'done'),
  )
  expect((await run([...argv, ...SET], done)).stdout).toBe(`done\n\nNext:\n  migrate status${options}  look\n`)
})

describe('an error', () => {
  const locked = new MigrateError(
    'LOCKED',
    { what: 'users', holder: 'host/1', seconds: 2 },
    { cause: new Error('duplicate key') },
  )

  test('is printed as text on stderr, with its exit code', async () => {
    const { code, stdout, stderr } = await run(SET, failing(locked))
    expect([code, stdout]).toEqual([5, ''])
    expect(stderr).toBe(`✖ LOCKED  ${locked.message}\n  Do: ${locked.hint}\n`)
  })

  test('shows causes and stacks only when asked', async () => {
    const { stderr } = await run([...SET, '-v'], failing(locked))
    expect(stderr).toMatch(/Caused by: Error: duplicate key\n\s+at /)
  })

  test('is an envelope on stdout with --json', async () => {
    const { code, stdout, stderr } = await run([...SET, '--json'], failing(locked))
    expect([code, stderr]).toEqual([5, ''])
    expect(JSON.parse(stdout)).toEqual({
      schema: 'migrate.error/1',
      ok: false,
      status: 'error',
      data: null,
      issues: [{ code: 'LOCKED', severity: 'error', message: locked.message, hint: locked.hint }],
      nextSteps: [],
    })
  })

  test('has its place in JSON', async () => {
    const error = new MigrateError('CONFIG_SYNTAX', { at: 'dir/migrate.yaml:3:14', reason: 'x' })
    const { stdout } = await run([...SET, '--json'], failing(error))
    expect(JSON.parse(stdout).issues[0].at).toEqual({ file: 'dir/migrate.yaml', line: 3, col: 14 })
  })

  test('of a stranger is INTERNAL', async () => {
    const { code, stderr } = await run(SET, failing(new TypeError('x is not a function')))
    expect(code).toBe(1)
    expect(stderr).toContain('✖ INTERNAL  something unexpected happened: x is not a function')
  })
})

describe('a stop', () => {
  test('exits with the code of the signal when the command returns', async () => {
    expect((await stopped(130, async () => undefined)).code).toBe(130)
  })

  test.each([
    ['the reason of the signal', (signal: AbortSignal) => signal.reason],
    ['an AbortError of Node.js', () => Object.assign(new Error('aborted'), { name: 'AbortError' })],
    ['an error caused by the stop', (signal: AbortSignal) => new Error('closed', { cause: signal.reason })],
  ])('exits with it when the command throws %s', async (_, error) => {
    const { code, stderr } = await stopped(143, ({ signal }) => Promise.reject(error(signal)))
    expect([code, stderr]).toEqual([143, ''])
  })

  test('does not hide an error of another kind', async () => {
    const { code, stderr } = await stopped(130, () => Promise.reject(new MigrateError('SLOT_LOST')))
    expect(code).toBe(8)
    expect(stderr).toContain('SLOT_LOST')
  })

  test('does not hide findings', async () => {
    const { code } = await stopped(130, async ({ output }) => {
      output.result({ schema: 'migrate.a/1', status: 'findings', data: null }, () => '')
    })
    expect(code).toBe(3)
  })
})

const SET = ['route', 'set', 'users']

type Act = (context: CommandContext, args: readonly string[], options: object) => unknown

function serve(act: Act): CommandDefinition {
  const examples = ['one', 'two', 'three'] as const
  const set = defineCommand({
    name: 'set',
    summary: 'set it',
    examples,
    configure: (command) => command.argument('<service>', 'which').option('--percent <n>', 'how much'),
    run: async (context, args, options) => void (await act(context, args, options)),
  })
  return { name: 'route', summary: 'routes', examples, subcommands: [set] }
}

function failing(error: unknown): CommandDefinition {
  return serve(() => Promise.reject(error))
}

async function stopped(code: 130 | 143, act: (context: CommandContext) => Promise<void>) {
  return await run(SET, serve(act), { signal: AbortSignal.abort(), code })
}

async function run(
  argv: readonly string[],
  definition: CommandDefinition = serve(() => undefined),
  interrupts: { signal: AbortSignal; code: 130 | 143 | null } = { signal: new AbortController().signal, code: null },
) {
  let [stdout, stderr, help] = ['', '', '']
  const streams = {
    stdout: { write: (text: string) => (stdout += text) },
    stderr: { write: (text: string) => (stderr += text) },
  }
  const output = createOutput(streams, { json: argv.includes('--json'), color: false })
  const writeHelp = (text: string) => void (help += text)
  const code = await runProgram(argv, { definitions: [definition], output, interrupts, env: {}, writeHelp })
  return { code, stdout, stderr, help }
}
