import { expect, test } from 'vitest'
import type { Check, CheckContext, Side } from './check.ts'
import { CHECKS } from './index.ts'
import { sessionReplicationRole } from './session-replication-role.ts'
import { superuser } from './superuser.ts'
import { version } from './version.ts'

test('every check has a name of its own, and says what it looks for and why', () => {
  expect(new Set(CHECKS.map(({ id }) => id)).size).toBe(CHECKS.length)
  for (const { id, looksFor, why } of CHECKS) {
    expect(id).toMatch(/^[a-z-]+$/)
    expect(looksFor).toMatch(/[^.]$/)
    expect(why).toMatch(/\.$/)
  }
})

test.each([
  [130_012, ['version', 'version']],
  [140_000, []],
])('a server of version %i', async (number, ids) => {
  const found = await version.find(contextOf(number, false))
  expect(found.map(() => version.id)).toEqual(ids)
})

// has_parameter_privilege does not exist there: a statement with that name fails, whatever branch it is in
test('a server before 15 is never asked for privileges on parameters', async () => {
  expect(await sides(sessionReplicationRole, contextOf(140_010, true))).toEqual([])
  expect(await sides(sessionReplicationRole, contextOf(140_010, false))).toEqual(['monolith', 'users'])
})

test('a superuser is right before 15, and more than needed from then on', async () => {
  expect(await sides(superuser, contextOf(140_010, true))).toEqual([])
  expect(await sides(superuser, contextOf(150_000, true))).toEqual(['monolith', 'users'])
})

async function sides(check: Check, context: CheckContext): Promise<string[]> {
  return (await check.find(context)).map(({ side }) => side.name)
}

/** Two servers that answer no statement. */
function contextOf(number: number, isSuperuser: boolean): CheckContext {
  const side = (kind: Side['kind'], name: string): Side => ({
    name,
    kind,
    sql: { query: () => Promise.reject(new Error('no statement was expected')) },
    connection: { url: '', role: name, applicationName: '' },
    server: {
      systemIdentifier: '1',
      version: number,
      versionText: String(number / 10_000),
      database: name,
      user: 'migrate_apply',
      superuser: isSuperuser,
      superusers: ['postgres'],
    },
  })
  return {
    service: 'users',
    monolith: side('monolith', 'monolith'),
    target: side('service', 'users'),
    wanted: [],
    tables: [],
    targetTables: [],
    oids: [],
    monolithRole: undefined,
    serviceSlots: [],
    ownSlots: [],
    longTransactionSeconds: 300,
  }
}
