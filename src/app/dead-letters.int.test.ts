import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../../fixtures/servers/postgres.ts'
import { openTwoDatabases, type TwoDatabases } from '../../test/support/two-databases.ts'
import { intentStore } from '../control/intents.ts'
import type { Alerts } from '../model/alert.ts'
import { chooseLetters, discardLetters, retryLetters } from './dead-letters.ts'

let server: PostgresServer
let world: TwoDatabases

beforeAll(async () => {
  server = await startPostgres({ name: 'letters' })
  world = await openTwoDatabases(server, 'letters', { rows: 10 })
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

const resolved: string[] = []
const alerts: Alerts = { raise: () => undefined, resolve: (name, service) => resolved.push(`${name} ${service}`) }
const open = () => chooseLetters(world.app, { ids: [], service: 'users' })

async function bury(): Promise<string> {
  await intentStore(world.app.control).bury({
    ...{
      key: randomUUID(),
      service: 'users',
      method: 'POST',
      path: '/users/1',
      route: '/users/**',
      entity: '/users/1',
    },
    ...{ epoch: 1, code: 'LEG_DIFFERENT', error: null, monolithStatus: 200, serviceStatus: 422, attempts: 1 },
    ...{ sourceLsn: null, body: null, bodyBytes: 0 },
  })
  return (await open()).at(-1)?.id ?? ''
}

test('the alert is over with the last open letter', async () => {
  const ids = [await bury(), await bury(), await bury()]
  expect(await discardLetters(world.app, 'users', ids.slice(0, 2), alerts)).toEqual(ids.slice(0, 2))
  expect([resolved, (await open()).map(({ id }) => id)]).toEqual([[], ids.slice(2)])
  expect(await discardLetters(world.app, 'users', ids, alerts)).toEqual(ids.slice(2))
  expect([resolved, await open()]).toEqual([['leg-exhausted users'], []])
})

test('letters are named by their service too', async () => {
  const id = await bury()
  await expect(chooseLetters(world.app, { ids: [id], service: 'orders' })).rejects.toMatchObject({
    code: 'SERVICE_UNKNOWN',
  })
  await discardLetters(world.app, 'users', [id], alerts)
  await expect(chooseLetters(world.app, { ids: [id], service: null })).rejects.toMatchObject({
    code: 'DEAD_LETTER_CLOSED',
    exit: 4,
  })
})

test('nothing is resolved without a worker, nor where the service has the authority', async () => {
  await bury()
  const letters = await open()
  const events = { onRange: () => undefined, onResync: () => undefined }
  const retry = () => retryLetters(world.app, letters, { events, alerts, signal: new AbortController().signal })
  await expect(retry()).rejects.toMatchObject({ code: 'WORKER_MISSING', exit: 4 })
  await world.app.monolith.query(`update migrate.authority set state = 'service', epoch = 2`)
  await expect(retry()).rejects.toMatchObject({ code: 'RESYNC_REFUSED', exit: 4 })
  expect(await open()).toHaveLength(1)
})
