// Transactions as they come from the source, for tests of what reads their bytes.
import { type Change, type Note, type Row, TextValue, UNCHANGED } from '../../src/model/change.ts'
import { asLsn } from '../../src/model/lsn.ts'
import { type Block, blockOf } from '../../src/sync/block.ts'
import type { SpoolFile } from '../../src/sync/ports.ts'
import { type Part, RawTransaction } from '../../src/sync/raw-transaction.ts'
import { Transactions } from '../../src/sync/transactions.ts'

export function rawTransaction(
  at: number | bigint,
  changes: readonly Change[],
  { part = 'whole', notes = [] }: { readonly part?: Part; readonly notes?: readonly Note[] } = {},
): RawTransaction {
  const relations = new Map(
    changes
      .flatMap((change) => (change.op === 'truncate' ? change.relations : [change.relation]))
      .map((r) => [r.id, r]),
  )
  const block = blockOf(changes.map(encodeChange))
  return new RawTransaction({
    ...{ xid: Number(at), commitLsn: asLsn(BigInt(at)), firstLsn: asLsn(BigInt(at)), count: 1 },
    ...{ notes, part, size: changes.length },
    bytes: block.bytes.length,
    pieces: changes.length === 0 ? [] : [{ block, from: 0, to: block.count, relations }],
  })
}

/** As pgoutput sends it. */
function encodeChange(change: Change): Buffer {
  if (change.op === 'truncate') {
    const flags = (change.cascade ? 1 : 0) | (change.restartIdentity ? 2 : 0)
    const ids = change.relations.map(({ id }) => int32(id))
    return Buffer.concat([Buffer.from('T'), int32(ids.length), Buffer.from([flags]), ...ids])
  }
  const old = change.relation.identity === 'full' ? 'O' : 'K'
  const id = int32(change.relation.id)
  if (change.op === 'insert') return Buffer.concat([Buffer.from('I'), id, Buffer.from('N'), tuple(change.row)])
  if (change.op === 'delete') return Buffer.concat([Buffer.from('D'), id, Buffer.from(old), tuple(change.old)])
  const before = change.old === null ? [] : [Buffer.from(old), tuple(change.old)]
  return Buffer.concat([Buffer.from('U'), id, ...before, Buffer.from('N'), tuple(change.row)])
}

function tuple(row: Row): Buffer {
  const count = Buffer.alloc(2)
  count.writeInt16BE(row.length)
  const columns = row.flatMap((value) => {
    if (value === null) return [Buffer.from('n')]
    if (value === UNCHANGED) return [Buffer.from('u')]
    const [kind, bytes] = value instanceof TextValue ? ['t', value.bytes] : ['b', value]
    return [Buffer.from(kind), int32(bytes.length), bytes]
  })
  return Buffer.concat([count, ...columns])
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

/** Takes messages one by one. */
export class MessageTaker {
  readonly transactions = new Transactions(memoryFile)

  push(message: Buffer): RawTransaction | null {
    const [first = null] = this.transactions.push(blockOf([message]))
    return first
  }
}

/** Copies of the messages in a block. */
export function messagesOf({ bytes, bounds, count }: Block): Buffer[] {
  return Array.from({ length: count }, (_, i) => Buffer.from(bytes.subarray(bounds[2 * i], bounds[2 * i + 1])))
}

export function memoryFile(): SpoolFile {
  let bytes = Buffer.alloc(0)
  return {
    write(more) {
      bytes = Buffer.concat([bytes, more])
    },
    read: (offset, into) => void bytes.copy(into, 0, offset, offset + into.length),
    [Symbol.dispose]: () => undefined,
  }
}
