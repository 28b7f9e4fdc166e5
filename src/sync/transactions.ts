import { MigrateError } from '../errors.ts'
import type { Change, Note, Relation, Transaction } from '../model/change.ts'
import type { Lsn } from '../model/lsn.ts'
import { decode } from './pgoutput/decode.ts'

/** Puts messages together to whole transactions, in commit order. */
export class Transactions {
  readonly #relations = new Map<number, Relation>()
  #open: Open | null = null

  /** Is a transaction begun and not yet committed in what was pushed so far? */
  get inside(): boolean {
    return this.#open !== null
  }

  /** Takes one message (its bytes are kept). Returns the transaction that it completes, or null. */
  push(bytes: Buffer): Transaction | null {
    const message = decode(bytes)
    switch (message.kind) {
      case 'begin': {
        if (this.#open !== null) throw malformed('a transaction inside a transaction')
        const { xid, finalLsn } = message
        this.#open = { xid, finalLsn, changes: [], notes: [], bytes: 0 }
        return null
      }
      case 'commit': {
        const { xid, finalLsn, changes, notes, bytes: size } = this.#inside()
        if (finalLsn !== message.commitLsn) throw malformed('a commit of another transaction')
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

  #inside(): Open {
    if (this.#open === null) throw malformed('a change outside a transaction')
    return this.#open
  }

  #relation(id: number): Relation {
    const relation = this.#relations.get(id)
    if (relation === undefined) throw malformed(`unknown relation ${id}`)
    return relation
  }
}

interface Open {
  readonly xid: number
  readonly finalLsn: Lsn
  readonly changes: Change[]
  readonly notes: Note[]
  bytes: number
}

function malformed(reason: string): MigrateError {
  return new MigrateError('STREAM_MALFORMED', { reason })
}
