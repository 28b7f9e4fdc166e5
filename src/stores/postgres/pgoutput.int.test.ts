import { readFile, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { openCdc, openStream, publishTables } from '../../../test/support/cdc.ts'
import { messagesOf } from '../../../test/support/raw.ts'
import { asLsn } from '../../model/lsn.ts'
import { decode, type Message } from '../../sync/pgoutput/decode.ts'

const FILE = new URL('../../../fixtures/pgoutput/shop.bin', import.meta.url)

const SCHEMA = `
  create type mood as enum ('good', 'bad');
  create table a (id bigint generated always as identity primary key, name text not null, bio text, tags text[], m mood,
    n numeric, at timestamptz, raw bytea, doc jsonb, j json, ok boolean, u uuid, twice bigint generated always as (id * 2) stored);
  alter table a alter bio set storage external;
  create table b (k text, v int, note varchar(20), primary key (k, v));
  create table f (x int, y text); alter table f replica identity full; alter table f alter y set storage external`

const CHANGES = [
  `insert into a (name, bio, tags, m, n, at, raw, doc, j, ok, u) values ('Ada', repeat('b', 9000), '{x,"y z",null}', 'bad',
     'NaN', 'infinity', '\\x00ff', '{"a": [1.50, null]}', '{"b":1}', true, 'a81bc81b-dead-4e5d-abff-90865d1e13b1')`,
  `insert into a (name) values ('Grün'), ('山田')`,
  `update a set name = name || '!' where id = 1`,
  `update a set bio = null where id = 1`,
  `begin; insert into b values ('k', 1, null); update b set v = 2; delete from b; select pg_logical_emit_message(true, 'migrate.token', 'users 1 x'); commit`,
  `insert into f values (1, repeat('c', 9000)), (1, null)`,
  `update f set x = 2`,
  `delete from f`,
  `select pg_logical_emit_message(false, 'other', 'not in a transaction')`,
  `alter table b add column extra int default 7`,
  `insert into b (k, v) values ('after', 3)`,
  `truncate a, b restart identity cascade`,
]

/** What is the same in every run: no positions, no OIDs of relations, no xids. */
function stable(bytes: Buffer): string {
  const message: Message = decode(bytes)
  const text = JSON.stringify(message, (key, value: unknown) => {
    if (/^(finalLsn|commitLsn|endLsn|xid|relationId|relationIds|id|typeOid)$/.test(key)) return undefined
    return typeof value === 'symbol' ? String(value) : value
  })
  return text
}

/** RECORD=1 writes the file anew: messages of 4 bytes of length, then themselves. */
test('a server of today sends what the unit tests were recorded from', async () => {
  await using cdc = await openCdc({ name: 'pgoutput' })
  await cdc.source.query(SCHEMA)
  await publishTables(cdc, ['a', 'b', 'f'])
  for (const sql of CHANGES) await cdc.source.query(sql)
  const seen: Buffer[] = []
  await using stream = await openStream(cdc, asLsn(0n))
  for await (const block of stream.blocks()) {
    seen.push(...messagesOf(block))
    if (seen.filter((bytes) => bytes[0] === 0x43).length >= CHANGES.length - 2) break
  }
  if (process.env['RECORD'] === '1')
    await writeFile(FILE, Buffer.concat(seen.flatMap((bytes) => [lengthOf(bytes), bytes])))
  const recorded = await readFile(FILE)
  const messages: Buffer[] = []
  for (let at = 0; at < recorded.length; at += 4 + recorded.readUInt32BE(at)) {
    messages.push(recorded.subarray(at + 4, at + 4 + recorded.readUInt32BE(at)))
  }
  expect(seen.map(stable)).toEqual(messages.map(stable))
})

function lengthOf(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return length
}
