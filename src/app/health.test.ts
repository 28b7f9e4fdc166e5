import { expect, test } from 'vitest'
import { missingForHealth } from './health.ts'
import { changesOf } from './status-changes.ts'
import type { PipelineStatus } from './pipeline-status.ts'
import type { ServiceStatus, StatusSnapshot } from './status.ts'

const WAL: PipelineStatus['wal'] = {
  ...{ status: 'reserved', capBytes: null, detachBytes: 100, growthBytes: null, secondsToCap: null, detachedAt: null },
}
const forward: PipelineStatus = {
  ...{ direction: 'forward', state: 'apply', phase: 'streaming', age: 0.5, alive: true, lagBytes: 99_999_999 },
  ...{
    hold: false,
    slot: 'migrate_shop_users',
    retainedBytes: 10,
    lagSeconds: 0.4,
    throttled: null,
    wal: WAL,
    rows: 3,
    foreign: 0,
    legs: { verified: 0, repaired: 0, extra: 0, serviceExtra: 0 },
  },
}
const users: ServiceStatus = {
  ...{
    service: 'users',
    stage: 'route',
    percent: 25,
    paused: null,
    sync: [forward],
    legs: [],
    unsettled: 0,
    deadLetters: 0,
    alerts: [],
  },
  authority: { side: 'monolith', epoch: 1, fenced: false },
  ...{ verification: null, lastRun: null, next: 'migrate dual-write users' },
}
const router = { instance: 'a/1', version: 7, age: 0.1 }

test('a system whose parts all work is healthy, however far behind', () => {
  expect(missing(users)).toEqual([])
  expect(missing({ ...users, stage: 'sync' }, { routers: [] })).toEqual([])
  const reverse: PipelineStatus = { ...forward, direction: 'reverse' }
  expect(missing({ ...users, stage: 'live', sync: [{ ...forward, alive: false }, reverse] })).toEqual([])
})

test.each<[string, Partial<ServiceStatus>, Partial<StatusSnapshot>]>([
  ['users: no sync worker is alive', { sync: [] }, {}],
  ['users: no sync worker is alive', { sync: [{ ...forward, alive: false }] }, {}],
  ['users: no sync worker is alive', { stage: 'live' }, {}],
  ['users: the slot migrate_shop_users is gone', { sync: [{ ...forward, wal: { ...WAL, status: 'gone' } }] }, {}],
  [
    'users: the slot migrate_shop_users was given up',
    { sync: [{ ...forward, wal: { ...WAL, status: 'gone', detachedAt: '2026-11-25 12:00:00 UTC' } }] },
    {},
  ],
  [
    'users: its sync is paused by ann@laptop since 2026-11-25 12:00:00 UTC',
    { paused: { by: 'ann@laptop', since: '2026-11-25 12:00:00 UTC', reason: null } },
    {},
  ],
  ['users: 2 row change(s) by somebody who should not write there', { sync: [{ ...forward, foreign: 2 }] }, {}],
  ['users: 4 row(s) differ', { verification: { through: null, age: null, drift: 4, tables: [] } }, {}],
  [
    'users: a cutover is not at its end',
    { lastRun: { kind: 'cutover', state: 'running', seconds: null, reason: null } },
    {},
  ],
  ['users: its tables in the monolith are fenced', { authority: { side: 'monolith', epoch: 1, fenced: true } }, {}],
  ['users: alert drift', { alerts: [{ name: 'drift', summary: 's', next: 'n', age: 1 }] }, {}],
  ['no router is running', {}, { routers: [] }],
  ['the router a/1 does not yet obey the newest version', {}, { policyVersion: 8 }],
])('not healthy: %s', (expected, service, more) => {
  expect(missing({ ...users, ...service }, more)).toEqual([expected])
})

test('where nothing is synced nothing is healthy; what is named must be', () => {
  const off: ServiceStatus = { ...users, stage: 'off', sync: [], authority: null }
  expect(missing(off)).toEqual(['no service is synced'])
  expect(missingForHealth(snapshot(off), 'users')).toEqual(['users is at stage off'])
  expect(missingForHealth({ ...snapshot(users), services: [off, users] }, null)).toEqual([])
})

test('changes are told, but not what always changes', () => {
  const before = snapshot(users)
  const later = { ...forward, age: 0.1, lagBytes: 3, rows: 9, retainedBytes: 4 }
  expect(changesOf(before, snapshot({ ...users, sync: [later] }))).toEqual([])
  const after = snapshot({ ...users, stage: 'dual-write', sync: [{ ...later, alive: false }] }, { routers: [] })
  expect(changesOf(before, after)).toEqual([
    { service: 'users', what: 'stage', from: 'route', to: 'dual-write' },
    { service: 'users', what: 'forward worker', from: 'apply', to: 'away' },
    { service: null, what: 'router a/1', from: 'version 7', to: null },
  ])
})

function missing(service: ServiceStatus, more: Partial<StatusSnapshot> = {}): string[] {
  return missingForHealth(snapshot(service, more), null)
}

function snapshot(service: ServiceStatus, more: Partial<StatusSnapshot> = {}): StatusSnapshot {
  return { project: 'shop', services: [service], routers: [router], policyVersion: 7, ...more }
}
