import type { Relation } from '../model/change.ts'
import type { Block } from './block.ts'
import { decode } from './pgoutput/decode.ts'
import { at8 } from './pgoutput/tuple.ts'
import { isChange, type Piece, type Relations, type Stored } from './raw-transaction.ts'
import type { Spool } from './spool.ts'

/** The parts of a spooled transaction: each is read when it is written to the target, so that none waits in memory. */
export class StoredParts {
  readonly #spool: Spool
  readonly #blocks: Generator<Block>
  readonly #intern: (relation: Relation) => Relation
  readonly #done: () => void
  readonly #count: number
  /** a streamed transaction is told of every table that it speaks of, whatever was told before */
  #relations: Relations = new Map()
  #read = 0

  /** `intern`: the same object for a table that is described as it was before; `done`: all is read or forgotten. */
  constructor(spool: Spool, intern: (relation: Relation) => Relation, done: () => void) {
    this.#spool = spool
    this.#count = spool.lengths.length
    this.#done = done
    this.#blocks = spool.blocks()
    this.#intern = intern
  }

  /** One for each chunk, to be loaded in order. */
  parts(): Stored[] {
    return Array.from({ length: this.#count }, (_, i) => ({
      isInFile: i < this.#count - 1,
      load: () => this.#load(i),
      forget: () => this.#endAfter(i),
    }))
  }

  #load(index: number): { pieces: readonly Piece[]; size: number } {
    let part = this.#next()
    // what was dropped unread has told of tables all the same
    while (this.#read <= index) part = this.#next()
    this.#endAfter(index)
    return part
  }

  #endAfter(index: number): void {
    if (index < this.#count - 1) return
    this.#spool[Symbol.dispose]()
    this.#done()
  }

  #next(): { pieces: readonly Piece[]; size: number } {
    this.#read += 1
    const { value: block } = this.#blocks.next()
    if (block === undefined) return { pieces: [], size: 0 }
    const pieces: Piece[] = []
    let [from, size] = [0, 0]
    const close = (to: number): void => {
      if (to > from) pieces.push({ block, from, to, relations: this.#relations })
      from = to + 1
    }
    for (let i = 0; i < block.count; i++) {
      const at = block.bounds[2 * i] as number
      const kind = at8(block.bytes, at)
      if (isChange(kind)) size += 1
      if (kind !== RELATION) continue
      close(i)
      const message = decode(block.bytes.subarray(at, block.bounds[2 * i + 1]))
      if (message.kind !== 'relation') continue
      this.#relations = new Map(this.#relations).set(message.relation.id, this.#intern(message.relation))
    }
    close(block.count)
    return { pieces, size }
  }
}

const RELATION = 0x52
