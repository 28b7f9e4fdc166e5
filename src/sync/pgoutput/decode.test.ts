import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { MigrateError } from '../../errors.ts'
import { TextValue, UNCHANGED } from '../../model/change.ts'
import { keyColumnsOf } from '../../../test/support/changes.ts'
import { MessageTaker } from '../../../test/support/raw.ts'
import { Compactor } from '../compact.ts'
import type { RawTransaction } from '../raw-transaction.ts'
import { decode } from './decode.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
const ascii = (text: string): string => Buffer.from(text).toString('hex')

test.each([
  [
    'begin',
    '42 00000016b374d848 0002f9b8a1e2c3d4 80000309',
    { kind: 'begin', finalLsn: 0x16_b374d848n, xid: 0x80000309 },
  ],
  [
    'commit',
    '43 00 00000016b374d848 00000016b374d878 0002f9b8a1e2c3d4',
    { kind: 'commit', commitLsn: 0x16_b374d848n, endLsn: 0x16_b374d878n },
  ],
  [
    'relation',
    `52 ffff4001 ${ascii('sales')}00 ${ascii('users')}00 69 0002 01 ${ascii('id')}00 00000014 ffffffff 00 ${ascii('n')}00 000006a4 000c0006`,
    {
      kind: 'relation',
      relation: {
        ...{ id: 0xffff4001, schema: 'sales', name: 'users', identity: 'index' },
        columns: [
          { name: 'id', typeOid: 20, typeModifier: -1, key: true },
          { name: 'n', typeOid: 1700, typeModifier: 0xc0006, key: false },
        ],
      },
    },
  ],
  [
    'relation of pg_catalog, which is sent as nothing',
    '52 00000001 00 7000 64 0000',
    { kind: 'relation', relation: { id: 1, schema: 'pg_catalog', name: 'p', identity: 'default', columns: [] } },
  ],
  [
    'insert: null, binary, text, empty',
    `49 00004001 4e 0004 6e 62 00000002 0102 74 00000002 ${ascii('hi')} 62 00000000`,
    { kind: 'insert', relationId: 0x4001, row: [null, hex('0102'), new TextValue(Buffer.from('hi')), hex('')] },
  ],
  [
    'update without the old key',
    '55 00004001 4e 0002 62 00000001 07 75',
    { kind: 'update', relationId: 0x4001, old: null, row: [hex('07'), UNCHANGED] },
  ],
  [
    'update with the old key',
    '55 00004001 4b 0002 62 00000001 06 6e 4e 0002 62 00000001 07 75',
    { kind: 'update', relationId: 0x4001, old: [hex('06'), null], row: [hex('07'), UNCHANGED] },
  ],
  [
    'update with an unchanged TOAST value in the key',
    '55 00004001 4b 0002 62 00000001 06 6e 4e 0002 75 62 00000001 09',
    { kind: 'update', relationId: 0x4001, old: [hex('06'), null], row: [hex('06'), hex('09')] },
  ],
  [
    'update with the old row, which has the unchanged TOAST value',
    '55 00004001 4f 0002 62 00000001 06 62 00000001 09 4e 0002 62 00000001 07 75',
    { kind: 'update', relationId: 0x4001, old: [hex('06'), hex('09')], row: [hex('07'), hex('09')] },
  ],
  [
    'delete by key',
    '44 00004001 4b 0002 62 00000001 06 6e',
    { kind: 'delete', relationId: 0x4001, old: [hex('06'), null] },
  ],
  [
    'truncate',
    '54 00000002 03 00004001 00004002',
    { kind: 'truncate', relationIds: [0x4001, 0x4002], cascade: true, restartIdentity: true },
  ],
  [
    'message',
    `4d 01 00000016b374d848 ${ascii('migrate.token')}00 00000003 ${ascii('a b')}`,
    { kind: 'note', prefix: 'migrate.token', content: 'a b' },
  ],
  ['type', `59 00004001 ${ascii('public')}00 ${ascii('mood')}00`, { kind: 'other' }],
  ['origin', '4f 0000000000000000 00', { kind: 'other' }],
])('decodes %s', (_, bytes, message) => {
  expect(decode(hex(bytes))).toEqual(message)
})

test.each([
  ['nothing', ''],
  ['a stream block of no transaction', '53 0003'],
  ['a value longer than the message', '49 00004001 4e 0001 62 7fffffff 01'],
  ['a negative length', '49 00004001 4e 0001 62 ffffffff'],
  ['a negative count', '49 00004001 4e ffff'],
  ['a string without end', '52 00004001 7075'],
  ['more relations than there are', '54 ffffffff 00 00004001'],
  ['an unknown kind of value', '49 00004001 4e 0001 78'],
  ['an unknown replica identity', '52 00004001 00 7000 78 0000'],
  ['an insert of something else', '49 00004001 4b 0000'],
])('refuses %s', (_, bytes) => {
  expect(() => decode(hex(bytes))).toThrow(expect.objectContaining({ code: 'STREAM_MALFORMED' }))
})

// Real messages, see src/stores/postgres/pgoutput.int.test.ts ------------------------------------------------------

function recorded(): Buffer[] {
  const file = readFileSync(new URL('../../../fixtures/pgoutput/shop.bin', import.meta.url))
  const messages: Buffer[] = []
  for (let at = 0; at < file.length; at += 4 + file.readUInt32BE(at)) {
    messages.push(file.subarray(at + 4, at + 4 + file.readUInt32BE(at)))
  }
  return messages
}

test('recorded messages make transactions', () => {
  const transactions = new MessageTaker()
  const whole = recorded().flatMap((bytes) => transactions.push(bytes) ?? [])
  expect(whole.map(({ changes }) => changes.map(({ op }) => op).join(' '))).toEqual([
    'insert',
    'insert insert',
    'update',
    'update',
    'insert update delete',
    'insert insert',
    'update update',
    'delete delete',
    'insert',
    'truncate',
  ])
  expect(whole[2]?.changes).toMatchObject([{ row: expect.arrayContaining([UNCHANGED]) }])
  // identity full: the old row has the value
  expect(whole[6]?.changes.some((change) => change.op === 'update' && change.row.includes(UNCHANGED))).toBe(false)
})

test('mutated messages give a message or STREAM_MALFORMED, quickly', () => {
  const messages = recorded().map((bytes) => bytes.subarray(0, 2_000))
  const random = generator(20_260_101)
  let refused = 0
  const from = performance.now()
  for (let i = 0; i < 60_000; i++) {
    const bytes = mutate(messages[random(messages.length)] as Buffer, random)
    try {
      decode(bytes)
    } catch (error) {
      if (!(error instanceof MigrateError) || error.code !== 'STREAM_MALFORMED') {
        throw new Error(`message ${bytes.toString('hex')}`, { cause: error })
      }
      refused++
    }
  }
  // a mutation that nobody can see is as good as none
  expect(refused).toBeGreaterThan(20_000)
  expect(performance.now() - from).toBeLessThan(10_000)
})

test('mutated streams give transactions or STREAM_MALFORMED', () => {
  const messages = recorded().map((bytes) => bytes.subarray(0, 2_000))
  const random = generator(7)
  for (let i = 0; i < 3_000; i++) {
    const stream = messages.slice()
    const at = random(stream.length)
    if (random(2) === 0) stream[at] = mutate(stream[at] as Buffer, random)
    else stream.splice(at, 1 + random(2))
    const transactions = new MessageTaker()
    try {
      for (const bytes of stream) compactAndDecode(transactions.push(bytes))
    } catch (error) {
      expect(error).toMatchObject({ code: 'STREAM_MALFORMED' })
    }
  }
})

/** Reads a transaction in both ways. */
function compactAndDecode(transaction: RawTransaction | null): void {
  if (transaction === null) return
  Array.from(new Compactor(keyColumnsOf).compact([transaction]))
  expect(transaction.changes.length).toBe(transaction.size)
}

function mutate(message: Buffer, random: (below: number) => number): Buffer {
  const bytes = Buffer.from(message)
  for (let times = 1 + random(3); times > 0; times--) {
    const at = random(bytes.length)
    switch (random(4)) {
      case 0:
        bytes[at] = random(256)
        break
      case 1:
        bytes.writeUInt8(255, at)
        break
      case 2:
        if (at + 4 <= bytes.length) bytes.writeInt32BE([0x7fffffff, -1, -0x80000000, 0xffff][random(4)] as number, at)
        break
      default:
        return bytes.subarray(0, at)
    }
  }
  return bytes
}

/** mulberry32 */
function generator(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}
