import { expect, test } from 'vitest'
import { asLsn } from '../model/lsn.ts'
import { faultOf, type Origin, type SlotFault, type SourceReading } from './slot-fault.ts'

const slot = { walStatus: 'reserved', confirmed: asLsn(90n), usable: true }
const sound: SourceReading = {
  ...{ systemIdentifier: 's', timeline: 3, walEnd: asLsn(200n), slot },
  publication: { fingerprint: 'f', missing: [] },
}
const origin: Origin = { systemIdentifier: 's', timeline: 3, publication: 'f' }
const at = { earliest: asLsn(100n), latest: asLsn(100n) }

test('a source that is as it was has no fault, also when nothing was written since', () => {
  expect(faultOf(sound, origin, at)).toBeNull()
  const still = { ...sound, walEnd: asLsn(100n), slot: { ...slot, confirmed: asLsn(100n) } }
  expect(faultOf(still, origin, at)).toBeNull()
})

test.each<[string, Partial<SourceReading>, SlotFault]>([
  ['another server', { systemIdentifier: 'x' }, { kind: 'other-server', found: 'x', expected: 's' }],
  ['another timeline', { timeline: 4 }, { kind: 'other-timeline', found: 4, expected: 3 }],
  ['a log that ends too early', { walEnd: asLsn(99n) }, { kind: 'rewound', walEnd: asLsn(99n) }],
  ['no slot', { slot: null }, { kind: 'slot-gone' }],
  ['a lost slot', { slot: { ...slot, walStatus: 'lost' } }, { kind: 'slot-invalid', walStatus: 'lost' }],
  [
    'a slot that is one byte ahead',
    { slot: { ...slot, confirmed: asLsn(101n) } },
    { kind: 'slot-ahead', confirmed: asLsn(101n) },
  ],
  [
    'a publication that lacks a table',
    { publication: { fingerprint: 'f', missing: ['public.t'] } },
    { kind: 'publication', missing: ['public.t'] },
  ],
  ['an altered publication', { publication: { fingerprint: 'g', missing: [] } }, { kind: 'publication', missing: [] }],
  ['no publication', { publication: { fingerprint: null, missing: [] } }, { kind: 'publication', missing: [] }],
])('%s', (_, changed, fault) => {
  expect(faultOf({ ...sound, ...changed }, origin, at)).toEqual(fault)
})

test('what an earlier version has not noted is not compared', () => {
  const changed = { ...sound, timeline: 9, publication: { fingerprint: 'g', missing: [] } }
  expect(faultOf(changed, { ...origin, timeline: null, publication: null }, at)).toBeNull()
})

test('a target that does not answer leaves open whether the slot is ahead, and nothing else', () => {
  const ahead = { ...sound, slot: { ...slot, confirmed: asLsn(150n) } }
  expect(faultOf(ahead, origin, { earliest: asLsn(100n), latest: null })).toBeNull()
  expect(faultOf({ ...ahead, slot: null }, origin, { earliest: asLsn(100n), latest: null })).toEqual({
    kind: 'slot-gone',
  })
})
