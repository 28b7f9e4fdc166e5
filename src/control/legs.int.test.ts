// Intents and dead letters in a real control database.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../../fixtures/servers/postgres.ts'
import type { DeadLetter } from '../dualwrite/dead-letter.ts'
import type { IntentOutcome } from '../dualwrite/intents.ts'
import { asLsn, type Lsn } from '../model/lsn.ts'
import type { Database } from '../model/sql.ts'
import { connect, openDatabase } from '../stores/postgres/database.ts'
import { closeLetters, countOpen, listLetters, readBody, readLetters } from './dead-letters.ts'
import { installSchema } from './install.ts'
import { intentStore, legCounts, markRevoked, markSuperseded, openIntents } from './intents.ts'
import { routerControl } from './policy.ts'
import { changeService, POLICY_CHANNEL } from './services.ts'
import {
  countUnsettled,
  endedUnsettled,
  givePosition,
  lacksPosition,
  markSettled,
  oldestUnsettled,
} from './unsettled.ts'

let server: PostgresServer
let database: Database
beforeAll(async () => {
  server = await startPostgres({ name: 'legs' })
  database = openDatabase({ url: server.url('postgres'), role: 'control', applicationName: 'migrate/test' })
  await installSchema(database, ['gate', 'control'])
  await database.query(`select migrate.enrol('users')`)
  await changeService(database, 'users', 'off', { stage: 'sync' }, { who: 'test', action: 'sync' })
})
beforeEach(() => database.query(`truncate migrate.intent, migrate.dead_letter`))
afterAll(async () => {
  await database[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

const EQUAL: IntentOutcome = { state: 'answered', status: 200, verdict: 'equal' }
const at = (position: number): Lsn => asLsn(BigInt(position))

async function opened(): Promise<string> {
  const key = randomUUID()
  const intent = { key, service: 'users', epoch: 1, method: 'POST', path: '/users/1', instance: 'router' }
  await intentStore(database).open(intent)
  return key
}

async function states(): Promise<string[]> {
  return (await legCounts(database, 'users', 60)).map(({ state }) => state)
}

function noted(sourceLsn: Lsn | null, error = 'connection lost') {
  return { attempts: 3, error, sourceLsn, givenUp: true }
}

test('a revoked leg is superseded when the sync has passed its position, not before, and not without one', async () => {
  const [key, unknown] = [await opened(), await opened()]
  const store = intentStore(database)
  await store.note(new Map([[key, noted(at(1_000))]]))
  expect(await openIntents(database, 'users')).toHaveLength(2)
  await markRevoked(database, [key, unknown], 'revoked')
  await markSuperseded(database, 'users', at(999))
  expect(await states()).toEqual(['revoked'])
  await markSuperseded(database, 'users', at(1_000))
  expect((await states()).toSorted()).toEqual(['revoked', 'superseded'])
  const { rows } = await database.query(`select attempts, error from migrate.intent where key = $1`, [key])
  expect(rows).toEqual([{ attempts: 3, error: 'connection lost' }])
  // of the other one nobody has said anything: its position is one after its time
  expect(await lacksPosition(database, 'users', 60_000)).toBe(false)
  expect(await lacksPosition(database, 'users', 0)).toBe(true)
  await givePosition(database, 'users', 0, at(2_000))
  await markSuperseded(database, 'users', at(2_000))
  expect(await states()).toEqual(['superseded'])
})

test('an answer that comes after the revocation changes no state, but says where the log was', async () => {
  const key = await opened()
  await markRevoked(database, [key], 'revoked')
  await intentStore(database).settle(key, EQUAL, { attempts: 2, error: null, sourceLsn: at(5), givenUp: true })
  expect(await legCounts(database, 'users', 60)).toEqual([{ state: 'revoked', verdict: null, count: 1 }])
  await markSuperseded(database, 'users', at(5))
  expect(await states()).toEqual(['superseded'])
})

test('an unsettled leg is due after the longest request, by what its router said or could have done last', async () => {
  const [given, silent] = [await opened(), await opened()]
  await markRevoked(database, [given, silent], 'unsettled')
  const due = (maxRequest: number, longestAnswer: number) =>
    endedUnsettled(database, 'users', { maxRequest, longestAnswer })
  expect([await countUnsettled(database, 'users'), await due(0, 0)]).toEqual([
    2,
    expect.arrayContaining([given, silent]),
  ])
  expect(await due(60_000, 0)).toEqual([])
  expect(await due(0, 60_000)).toEqual([])
  await intentStore(database).note(new Map([[given, noted(null)]]))
  expect(await due(0, 60_000)).toEqual([given])
  expect(await oldestUnsettled(database, 'users')).toBeGreaterThan(0)
  await markSettled(database, [given, silent])
  expect([await states(), await oldestUnsettled(database, 'users')]).toEqual([['settled'], null])
})

function letter(more: Partial<DeadLetter> = {}): DeadLetter {
  return {
    ...{ key: randomUUID(), service: 'users', method: 'POST', path: '/users', route: '/users/**', entity: '/users/7' },
    ...{ epoch: 3, code: 'ID_NOT_KEPT', error: null, monolithStatus: 201, serviceStatus: 200, attempts: 2 },
    ...{ sourceLsn: at(0x1_0000_0002), body: Buffer.from('{"a":1}'), bodyBytes: 7 },
    ...more,
  }
}

test('a letter is kept once, halts its route while it is open, and is closed once', async () => {
  await using control = routerControl(database, database)
  const halted = async () => (await control.readPolicy()).services.get('users')?.halted
  const listener = await connect({ url: server.url('postgres'), role: 'control', applicationName: 'test' })
  const changed = new Promise((resolve) => listener.client.once('notification', resolve))
  await listener.client.query(`listen ${POLICY_CHANNEL}`)
  const one = letter()
  await intentStore(database).bury(one)
  await intentStore(database).bury(one)
  await intentStore(database).bury(letter({ code: 'LEG_DIFFERENT', route: '/other' }))
  await changed
  expect(await halted()).toEqual(['/users/**'])
  const [first, second] = await listLetters(database, 'users', ['open'], 10)
  expect(first).toMatchObject({ code: 'ID_NOT_KEPT', sourceLsn: '1/2', entity: '/users/7', state: 'open', epoch: 3 })
  expect(await readBody(database, first?.id ?? '')).toEqual(Buffer.from('{"a":1}'))
  expect(await readLetters(database, [second?.id ?? '', first?.id ?? ''])).toMatchObject([
    { code: 'LEG_DIFFERENT' },
    { code: 'ID_NOT_KEPT' },
  ])
  await expect(readLetters(database, ['999'])).rejects.toMatchObject({ code: 'DEAD_LETTER_UNKNOWN' })
  const ids = [first?.id ?? '']
  expect(await closeLetters(database, ids, 'resolved', 'me')).toEqual(ids)
  expect(await closeLetters(database, ids, 'discarded', 'me')).toEqual([])
  expect([await halted(), await countOpen(database, 'users')]).toEqual([[], 1])
  expect(await readLetters(database, ids)).toMatchObject([{ state: 'resolved', resolvedBy: 'me' }])
  await listener.client.end()
  const { rows } = await database.query(`select who, action, after from migrate.audit order by id desc limit 1`)
  expect(rows).toEqual([{ who: 'me', action: `dlq ${ids[0]}`, after: { state: 'resolved' } }])
})
