import fc from 'fast-check'
import { expect, test } from 'vitest'
import { asLsn } from '../model/lsn.ts'
import type { ServicePolicy } from '../model/policy.ts'
import { STAGE_RULES, STAGES, type Stage } from '../model/stage.ts'
import { decide, type RequestFacts } from './decide.ts'

const MONOLITH = { side: 'monolith', epoch: 1 } as const
const SERVICE = { side: 'service', epoch: 2 } as const

/** The authority that goes with the stage. */
function whose({ stage = 'route' }: { stage?: Stage }): Pick<ServicePolicy, 'authority'> {
  return { authority: STAGE_RULES[stage].authority === 'service' ? SERVICE : MONOLITH }
}

const POLICY: ServicePolicy = {
  service: 'users',
  stage: 'route',
  percent: 25,
  version: 1,
  authority: MONOLITH,
  fence: 'open',
  fenceRun: 0,
  hold: null,
  legs: false,
  halted: [],
  applied: asLsn(100n),
}
const FACTS: RequestFacts = { method: 'GET', bucket: 24_999, ownWrite: null, busy: false, settled: true }

test.each([
  { when: 'inside the percentage', side: 'service', reason: 'percent', fallback: true },
  { when: 'outside', facts: { bucket: 25_000 }, side: 'monolith', reason: 'percent' },
  { when: 'no key', facts: { bucket: null }, side: 'monolith', reason: 'no-key' },
  { when: 'own write pending', facts: { ownWrite: 'pending' }, side: 'monolith', reason: 'own-write' },
  { when: 'own write ahead', facts: { ownWrite: asLsn(101n) }, side: 'monolith', reason: 'own-write' },
  { when: 'own write applied', facts: { ownWrite: asLsn(100n) }, side: 'service', reason: 'percent', fallback: true },
  {
    when: 'own write, applied unknown',
    facts: { ownWrite: asLsn(1n) },
    policy: { applied: null },
    side: 'monolith',
    reason: 'own-write',
  },
  { when: 'service busy', facts: { busy: true }, side: 'monolith', reason: 'busy' },
  { when: 'off', policy: { stage: 'off' }, side: 'monolith', reason: 'stage' },
  { when: 'sync', policy: { stage: 'sync', percent: 100 }, side: 'monolith', reason: 'stage' },
  { when: 'dual-write', policy: { stage: 'dual-write' }, side: 'service', reason: 'percent', fallback: true },
  { when: 'switched', policy: { authority: SERVICE }, facts: { bucket: null }, side: 'service', reason: 'authority' },
  { when: 'switched back', policy: { stage: 'live', authority: MONOLITH }, side: 'monolith', reason: 'authority' },
  { when: 'live, no key', policy: { stage: 'live' }, facts: { bucket: null }, side: 'service', reason: 'stage' },
  {
    when: 'live, own write',
    policy: { stage: 'live' },
    facts: { ownWrite: 'pending' },
    side: 'service',
    reason: 'stage',
  },
  { when: 'complete', policy: { stage: 'complete', percent: 0 }, side: 'service', reason: 'stage' },
] as const)('a read, $when, goes to the $side', (row) => {
  const { policy = {}, facts = {}, fallback = false } = row as { policy?: object; facts?: object; fallback?: boolean }
  const { side, reason } = row
  expect(decide({ ...POLICY, ...whose(policy), ...policy }, { ...FACTS, ...facts })).toEqual({
    kind: 'read',
    side,
    reason,
    fallback,
  })
})

test('without any policy reads go to the monolith and writes are refused', () => {
  expect(decide(null, FACTS)).toMatchObject({ kind: 'read', side: 'monolith', reason: 'no-policy' })
  expect(decide(null, { ...FACTS, method: 'POST' })).toEqual({ kind: 'refuse', reason: 'no-policy' })
})

const facts = fc.record({
  method: fc.constantFrom('GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE', 'PURGE'),
  bucket: fc.option(fc.nat(99_999)),
  ownWrite: fc.oneof(fc.constant(null), fc.constant('pending' as const), fc.bigInt(0n, 300n).map(asLsn)),
  busy: fc.boolean(),
  settled: fc.boolean(),
})
const policies = fc.record({
  stage: fc.constantFrom(...STAGES),
  percent: fc.integer({ min: 0, max: 100_000 }).map((thousandths) => thousandths / 1_000),
  applied: fc.option(fc.bigInt(0n, 300n).map(asLsn)),
})

test('unsafe methods are never split, and never fall back', () => {
  fc.assert(
    fc.property(facts, policies, (given, policy) => {
      const decision = decide({ ...POLICY, ...policy }, given)
      expect(decision.kind).toBe(['GET', 'HEAD', 'OPTIONS'].includes(given.method) ? 'read' : 'write')
    }),
  )
})

test('no read before `live` goes to the service while an own write may be missing there', () => {
  fc.assert(
    fc.property(facts, policies, (given, policy) => {
      const { ownWrite } = given
      const decision = decide({ ...POLICY, ...whose(policy), ...policy }, { ...given, method: 'GET' })
      if (decision.kind !== 'read' || decision.side === 'monolith') return
      if (policy.stage === 'live' || policy.stage === 'complete') {
        expect(decision.fallback).toBe(false)
        return
      }
      expect(ownWrite).not.toBe('pending')
      if (typeof ownWrite === 'bigint') expect(policy.applied !== null && policy.applied >= ownWrite).toBe(true)
    }),
    { numRuns: 5_000 },
  )
})
