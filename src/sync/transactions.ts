import { MigrateError } from '../errors.ts'
import type { Relation } from '../model/change.ts'
import { asLsn } from '../model/lsn.ts'
import type { Block } from './block.ts'
import { NONE, OpenTransaction } from './open-transaction.ts'
import { decode, type Message } from './pgoutput/decode.ts'
import { at8, int32 } from './pgoutput/tuple.ts'
import type { SpoolFile } from './ports.ts'
import { isChange, RawTransaction, type Relations } from './raw-transaction.ts'
import { RunOfTransactions } from './run-of-transactions.ts'
import { Spool, type SpoolRoom } from './spool.ts'
import { StoredParts } from './stored-parts.ts'

/** A transaction that has more bytes is handed on in parts, so that memory is bounded whatever its size. */
const PART_BYTES = 4 * 1024 * 1024

/**
 * Puts messages together to transactions, in commit order; big ones come in parts. What the source streams before the
 * end of its transaction waits in a spool, and comes when it is committed.
 */
export class Transactions implements Disposable {
  #relations: Map<number, Relation> = new Map()
  readonly #transaction = new OpenTransaction()
  /** the same object, between begin and commit */
  #open: OpenTransaction | null = null
  readonly #run = new RunOfTransactions()
  readonly #apart: () => boolean
  readonly #openFile: () => SpoolFile
  readonly #spools = new Map<number, Spool>()
  readonly #room: SpoolRoom = { spare: [], bytes: 0 }
  /** committed, and not yet written to the target */
  readonly #waiting = new Set<Spool>()
  /** between the start and the stop of a stream block */
  #spool: Spool | null = null

  /** While `apart` says so each transaction comes by itself; else small ones that follow each other come as one. */
  constructor(openFile: () => SpoolFile, apart: () => boolean = () => true) {
    this.#openFile = openFile
    this.#apart = apart
  }

  /** Is a transaction begun and not yet committed in what was pushed so far? Not: one that is spooled. */
  get inside(): boolean {
    return this.#open !== null || this.#spool !== null
  }

  /** Blocks that a transaction lies in which has not ended; the oldest is among them. */
  *blocksInUse(): Generator<Block> {
    if (this.#open !== null) for (const { block } of this.#open.pieces) yield block
  }

  /** Takes a block, which is kept. Gives what it completes. */
  *push(block: Block): Generator<RawTransaction> {
    const { bytes, bounds, count } = block
    const apart = this.#apart()
    if (this.#open !== null) this.#open.from = 0
    for (let i = 0; i < count; i++) {
      const at = bounds[2 * i] as number
      const end = bounds[2 * i + 1] as number
      const kind = at8(bytes, at)
      if (this.#spool !== null && kind !== STREAM_STOP) this.#stream(this.#spool, bytes, at, end)
      else if (isChange(kind)) this.#inside().add(end - at)
      else if (kind === BEGIN) this.#begin(bytes, at, end, i + 1)
      else if (kind !== COMMIT) yield* this.#other(block, i, decode(bytes.subarray(at, end)))
      else if (!apart && this.#inside().isPlain) {
        this.#run.add(this.#commit(bytes, at, end), block, i, at + 10, this.#relations)
        if (this.#run.isFull) yield this.#run.take()
      } else {
        yield* this.#soFar()
        const open = this.#commit(bytes, at, end)
        open.keep(block, i, this.#relations)
        yield open.take('end', asLsn(bytes.readBigUInt64BE(at + 10)))
      }
    }
    yield* this.#soFar()
    const open = this.#open
    if (open === null) return
    open.keep(block, count, this.#relations)
    if (open.bytes >= PART_BYTES) yield open.take('more', open.finalLsn)
  }

  *#soFar(): Generator<RawTransaction> {
    if (!this.#run.isEmpty) yield this.#run.take()
  }

  [Symbol.dispose](): void {
    for (const spool of [...this.#spools.values(), ...this.#waiting]) spool[Symbol.dispose]()
    this.#spools.clear()
    this.#waiting.clear()
  }

  #begin(bytes: Buffer, at: number, end: number, from: number): void {
    if (this.#open !== null) throw malformed('a transaction inside a transaction')
    if (end - at < 21) throw malformed('message too short')
    this.#open = this.#transaction
    this.#open.begin(int32(bytes, at + 17) >>> 0, bytes, at + 1, from)
  }

  #commit(bytes: Buffer, at: number, end: number): OpenTransaction {
    const open = this.#inside()
    if (end - at < 18) throw malformed('message too short')
    if (!open.isFinal(bytes, at + 2)) throw malformed('a commit of another transaction')
    this.#open = null
    return open
  }

  *#other(block: Block, i: number, message: Message): Generator<RawTransaction> {
    switch (message.kind) {
      case 'relation':
        this.#open?.keep(block, i, this.#relations)
        if (this.#open !== null) this.#open.from = i + 1
        this.#relations = described(this.#relations, message.relation)
        return
      case 'note':
        // all notes of ours are transactional, so one outside a transaction is somebody else's
        this.#open?.note({ prefix: message.prefix, content: message.content })
        return
      case 'stream-start': {
        if (this.inside) throw malformed('a transaction inside a transaction')
        this.#run.cut()
        const spool = this.#spools.get(message.xid) ?? new Spool(this.#openFile, this.#room)
        this.#spools.set(message.xid, spool)
        this.#spool = spool
        return
      }
      case 'stream-stop':
        if (this.#spool === null) throw malformed('the end of a stream that was not begun')
        this.#spool = null
        return
      case 'stream-abort':
        this.#abort(message.xid, message.subxid)
        return
      case 'stream-commit':
        yield* this.#soFar()
        yield* this.#unspool(message)
        return
      case 'two-phase':
        throw malformed(`a two-phase ${message.step}: the slot was made with two_phase`)
      case 'begin':
      case 'commit':
      case 'insert':
      case 'update':
      case 'delete':
      case 'truncate':
      case 'other':
    }
  }

  #stream(spool: Spool, bytes: Buffer, at: number, end: number): void {
    if (at8(bytes, at) === ORIGIN) return
    if (!isStreamable(at8(bytes, at)) || end - at < 6) throw malformed('unexpected message in a stream')
    const kind = at8(bytes, at)
    if (!isChange(kind)) {
      const message = Buffer.concat([bytes.subarray(at, at + 1), bytes.subarray(at + 5, end)])
      spool.note(int32(bytes, at + 1) >>> 0, decode(message))
    }
    spool.append(bytes, at, end)
  }

  #abort(xid: number, subxid: number): void {
    const spool = this.#spools.get(xid)
    // the server tells of subtransactions too that have sent nothing
    if (spool === undefined) return
    if (subxid !== xid) return spool.abort(subxid)
    spool[Symbol.dispose]()
    this.#spools.delete(xid)
  }

  *#unspool({ xid, endLsn }: Extract<Message, { kind: 'stream-commit' }>): Generator<RawTransaction> {
    const spool = this.#spools.get(xid)
    if (spool === undefined || this.#open !== null) throw malformed('a commit of another transaction')
    this.#spools.delete(xid)
    this.#waiting.add(spool)
    const before = this.#relations
    // what it was told holds for later transactions too
    for (const relation of spool.relations) this.#relations = described(this.#relations, relation)
    const known = this.#relations
    const parts = new StoredParts(
      spool,
      (relation) => interned(known, interned(before, relation)),
      () => this.#waiting.delete(spool),
    ).parts()
    for (const [i, stored] of parts.entries()) {
      const [first, last] = [i === 0, i === parts.length - 1]
      yield new RawTransaction({
        ...{ xid, commitLsn: endLsn, firstLsn: endLsn, count: last ? 1 : 0, stored },
        bytes: spool.lengths[i] ?? 0,
        notes: first || last ? spool.notes : NONE,
        part: first ? (last ? 'whole' : 'first') : last ? 'last' : 'middle',
      })
    }
  }

  #inside(): OpenTransaction {
    if (this.#open === null) throw malformed('a change outside a transaction')
    return this.#open
  }
}

const [BEGIN, COMMIT, STREAM_STOP, ORIGIN] = [0x42, 0x43, 0x45, 0x4f]

/** I, U, D, T, and R, Y, M */
function isStreamable(kind: number): boolean {
  return isChange(kind) || kind === 0x52 || kind === 0x59 || kind === 0x4d
}

/**
 * With this description. A table that was not known before comes into the same map, as nothing that was read so far can
 * mean it; with another description than before it takes a new map.
 */
function described(relations: Map<number, Relation>, relation: Relation): Map<number, Relation> {
  const known = relations.get(relation.id)
  if (known === undefined) return relations.set(relation.id, relation)
  const described = interned(relations, relation)
  return known === described ? relations : new Map(relations).set(relation.id, described)
}

/** The server repeats itself after every change of any table: one that is the same keeps its identity. */
function interned(relations: Relations, relation: Relation): Relation {
  const known = relations.get(relation.id)
  return known !== undefined && JSON.stringify(known) === JSON.stringify(relation) ? known : relation
}

function malformed(reason: string): MigrateError {
  return new MigrateError('STREAM_MALFORMED', { reason })
}
