import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Shop, startShop } from '../../fixtures/demo/shop.ts'
import { dropCrossingForeignKeys } from '../../fixtures/monolith/database.ts'
import { freePort } from '../../fixtures/servers/free-port.ts'
import { connect, succeed } from '../support/moving-shop.ts'
import { colours, HAS_TERMINAL, isRestored, onTerminal } from '../support/terminal.ts'

let shop: Shop
beforeAll(async () => {
  shop = await startShop({ size: 'small' })
})
afterAll(() => shop[Symbol.asyncDispose]())

describe.runIf(HAS_TERMINAL)('on a terminal', () => {
  test('sync draws the copy and the lag, and leaves both and the cursor behind on ^C', async () => {
    await using sync = onTerminal(args('sync', 'users'), { ...shop.env, NO_COLOR: '' })
    expect(await sync.shows(/copied public\.users: 500 rows/)).not.toBeNull()
    expect(await sync.shows(/users forward {2}apply, lag \d+ B/)).not.toBeNull()
    sync.type('\u0003')
    expect(await sync.exited).toBe(130)
    expect(isRestored(sync.raw())).toBe(true)
    expect(sync.raw()).toContain('\u001b[?25l')
    expect(colours(sync.raw())).not.toEqual([])
    const text = stripVTControlCharacters(sync.raw())
    expect(text).toMatch(/press \^C again within 3 s[^]*users holds what the monolith had committed[^]*Next:/)
  })

  test('a second ^C ends at once and restores the cursor all the same', async () => {
    const blocker = await connect(shop.users.superuser)
    await using sync = onTerminal(args('sync', 'users'), shop.env)
    await sync.shows(/apply, lag/)
    await blocker.query('begin; lock table users in access exclusive mode')
    const writer = await connect(shop.monolith.superuser)
    await writer.query(`update users set name = 'changed' where id = 1`)
    sync.type('\u0003')
    await sync.shows(/press \^C again/)
    sync.type('\u0003')
    await sync.exited
    expect(isRestored(sync.raw())).toBe(true)
    await Promise.all([blocker.end(), writer.end()])
  })

  test('a crash restores the cursor, and its error comes after the drawing', async () => {
    const bomb = `--import=data:text/javascript,setTimeout(()=>{throw new Error("boom")},3000).unref()`
    await using sync = onTerminal(args('sync', 'users'), shop.env, { node: [bomb] })
    expect(await sync.exited).toBe(1)
    expect(isRestored(sync.raw())).toBe(true)
    expect(stripVTControlCharacters(sync.raw())).toMatch(/INTERNAL {2}something unexpected happened: boom[^]*Do: /)
  })

  test.each([
    ['TERM=dumb', { TERM: 'dumb' }],
    ['CI', { CI: '1' }],
  ])('with %s there are lines', async (_, env) => {
    await using sync = onTerminal(args('sync', 'users', '--once'), { ...shop.env, ...env })
    expect(await sync.exited).toBe(0)
    expect(sync.raw()).not.toContain('\u001b[?25l')
    expect(sync.raw()).toContain('following forward')
  })

  test('NO_COLOR has no colour', async () => {
    await using sync = onTerminal(args('status', '-w'), { ...shop.env, NO_COLOR: '1' })
    await sync.shows(/stage sync/)
    sync.type('\u0003')
    expect(await sync.exited).toBe(130)
    expect(colours(sync.raw())).toEqual([])
    expect(isRestored(sync.raw())).toBe(true)
  })

  test.each([
    ['status', '-w'],
    ['sync', 'users'],
  ])('%s %s fits into 20 columns and 5 rows', async (...command) => {
    await using run = onTerminal(args(...command), shop.env, { columns: 20, rows: 5 })
    await run.shows(/users/)
    run.type('\u0003')
    expect(await run.exited).toBe(130)
    expect(isRestored(run.raw())).toBe(true)
  })

  test('a cutover and a rollback show gates and steps, and leave them there', async () => {
    const monolith = await connect(shop.monolith.app)
    await dropCrossingForeignKeys(monolith, 'users')
    await monolith.end()
    await using _run = await shop.startCli(['run', '--listen', `127.0.0.1:${await freePort()}`], {}, /"following"/)
    await succeed(shop.cli(['status', '--wait', 'caught-up']))
    await succeed(shop.cli(['route', 'set', 'users', '--percent', '25']))
    await succeed(shop.cli(['status', 'users', '--wait', 'healthy', '--timeout', '20s']))
    await succeed(shop.cli(['dual-write', 'users']))
    for (const [move, lastStep] of [
      ['cutover', 'finish'],
      ['rollback', 'finish'],
    ] as const) {
      await using run = onTerminal(args(move, 'users'), shop.env)
      expect(await run.exited).toBe(0)
      const text = stripVTControlCharacters(run.raw())
      expect(text).toMatch(/✔ \d+ gates met/)
      expect(text).toMatch(new RegExp(`✔ ${lastStep} +\\d+ ms[^]*✔ ${move} of users: `))
      expect(isRestored(run.raw())).toBe(true)
    }
    await using refused = onTerminal(args('rollback', 'users'), shop.env)
    expect(await refused.exited).toBe(4)
    expect(stripVTControlCharacters(refused.raw())).toMatch(/STAGE_ILLEGAL[^]*Do: [^\n]*\n$/)
    expect(isRestored(refused.raw())).toBe(true)
  })
})

function args(...command: string[]): string[] {
  return ['-c', shop.config, ...command]
}
