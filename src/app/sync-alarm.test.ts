import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { MigrateError } from '../errors.ts'
import type { Alerts } from '../model/alert.ts'
import { syncAlarm } from './sync-alarm.ts'

const AFTER = 60_000
const unreachable = new MigrateError('DATABASE_UNREACHABLE', {
  role: 'users',
  address: 'there',
  reason: 'ECONNREFUSED',
})

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('what is tried again is an alert after a while, with the last reason, and over when changes arrive', () => {
  const { alarm, told } = opened()
  alarm.alive('forward')
  alarm.retrying('forward', new Error('earlier'))
  alarm.retrying('forward', unreachable)
  vi.advanceTimersByTime(AFTER - 1)
  expect(told).toEqual(['resolve'])
  vi.advanceTimersByTime(1)
  expect(told).toEqual(['resolve', 'raise: cannot connect to the users database at there: ECONNREFUSED'])
  alarm.alive('forward')
  alarm.alive('forward')
  expect(told.slice(2)).toEqual(['resolve'])
})

test('a short interruption is no alert', () => {
  const { alarm, told } = opened()
  alarm.alive('forward')
  for (let minute = 0; minute < 5; minute++) {
    alarm.retrying('forward', unreachable)
    vi.advanceTimersByTime(AFTER / 2)
    alarm.alive('forward')
    vi.advanceTimersByTime(AFTER / 2)
  }
  expect(told).toEqual(['resolve'])
})

test('one direction that goes on does not hide the other', () => {
  const { alarm, told } = opened()
  alarm.alive('forward')
  alarm.retrying('reverse', unreachable)
  vi.advanceTimersByTime(AFTER)
  alarm.alive('forward')
  expect(told).toHaveLength(2)
  alarm.alive('reverse')
  alarm.alive('forward')
  expect(told.at(-1)).toBe('resolve')
})

test('the end of the worker is one at once, unless somebody else has the service', () => {
  const { alarm, told } = opened()
  alarm.ended(new MigrateError('LOCKED', { what: 'sync/users' }))
  alarm.ended(new MigrateError('TAKEN_OVER', { what: 'sync/users' }))
  expect(told).toEqual([])
  // its own lease could not be renewed: nobody has it
  alarm.ended(new MigrateError('TAKEN_OVER', { what: 'sync/users' }, { cause: unreachable }))
  alarm.ended(new MigrateError('ROW_MISSING', { table: 'users', role: 'users' }))
  expect(told).toEqual([
    'raise: cannot connect to the users database at there: ECONNREFUSED',
    'raise: a change of users found no row to change in the users database',
  ])
})

test('nothing is told after the end', () => {
  const { alarm, told } = opened()
  alarm.retrying('forward', unreachable)
  alarm[Symbol.dispose]()
  vi.advanceTimersByTime(AFTER)
  expect(told).toEqual([])
})

function opened() {
  const told: string[] = []
  const alerts: Alerts = {
    raise: ({ summary }) => told.push(summary.replace('the sync of users cannot go on', 'raise')),
    resolve: () => told.push('resolve'),
  }
  return { alarm: syncAlarm(alerts, 'users', AFTER), told }
}
