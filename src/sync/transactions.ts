import { MigrateError } from '../errors.ts'
import type { Change, Note, Relation, Transaction } from '../model/change.ts'
import { decode } from './pgoutput/decode.ts'

/** Puts messages together to whole transactions, in commit order. */
export class Transactions {
  readonly #relations = new Map<number, Relation>()
  #open: { xid: number; changes: Change[]; notes: Note[]; bytes: number } | null = null

  /** Is a transaction begun and not yet committed in what was pushed so far? */
  get inside(): boolean {
    return this.#open !== null
  }

  /** Takes one message (its bytes are kept). Returns the transaction that it completes, or null. */
  push(bytes: Buffer): Transaction | null {
    const message = decode(bytes)
    switch (message.kind) {
      case 'begin':
        this.#open = { xid: message.xid, changes: [], notes: [], bytes: 0 }
        return null
      case 'commit': {
        const { xid, changes, notes, bytes: size } = this.#inside()
        this.#open = null
        return { xid, commitLsn: message.endLsn, changes, notes, bytes: size }
      }
      case 'relation':
        this.#relations.set(message.relation.id, message.relation)
        return null
      case 'insert':
        return this.#add({ op: 'insert', relation: this.#relation(message.relationId), row: message.row }, bytes)
      case 'update': {
        const { old, row } = message
        return this.#add({ op: 'update', relation: this.#relation(message.relationId), old, row }, bytes)
      }
      case 'delete':
        return this.#add({ op: 'delete', relation: this.#relation(message.relationId), old: message.old }, bytes)
      case 'truncate': {
        const relations = message.relationIds.map((id) => this.#relation(id))
        const { cascade, restartIdentity } = message
        return this.#add({ op: 'truncate', relations, cascade, restartIdentity }, bytes)
      }
      case 'note':
        // all notes of ours are transactional, so one outside a transaction is somebody else's
        if (this.#open !== null) this.#open.notes.push({ prefix: message.prefix, content: message.content })
        return null
      case 'other':
        return null
    }
  }

  #add(change: Change, bytes: Buffer): null {
    const open = this.#inside()
    open.changes.push(change)
    open.bytes += bytes.length
    return null
  }

  #inside() {
    if (this.#open === null) throw new MigrateError('STREAM_MALFORMED', { reason: 'a change outside a transaction' })
    return this.#open
  }

  #relation(id: number): Relation {
    const relation = this.#relations.get(id)
    if (relation === undefined) throw new MigrateError('STREAM_MALFORMED', { reason: `unknown relation ${id}` })
    return relation
  }
}
