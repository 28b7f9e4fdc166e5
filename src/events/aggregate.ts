import { MigrateError } from '../errors.ts'
import type { AnyEvent, NewEvent, StoredEvent } from './define.ts'

/**
 * Base of aggregates that are objects. A subclass keeps its state in fields, changes them in `when` alone, and its methods
 * check their guards (`this.require`) and `raise` events.
 */
export abstract class Aggregate<Event extends AnyEvent> {
  readonly id: string
  #version = 0
  #uncommitted: NewEvent<Event>[] = []

  constructor(id: string) {
    this.id = id
  }

  /** of the last event that was stored; what is uncommitted does not count */
  get version(): number {
    return this.#version
  }

  /** Events that were raised and are not stored yet. */
  get uncommitted(): readonly NewEvent<Event>[] {
    return this.#uncommitted
  }

  /** An aggregate as its events have made it. */
  // biome-ignore lint/suspicious/noExplicitAny: of whatever events; no type stands for all of them, which go in and come out
  static fromHistory<A extends Aggregate<any>>(
    this: new (
      id: string,
    ) => A,
    id: string,
    history: readonly StoredEvent<AnyEvent>[],
  ): A {
    const aggregate = new this(id)
    for (const event of history) aggregate.#replay(event as never)
    return aggregate
  }

  /** The uncommitted events are stored: the stream is at this version now. */
  markCommitted(version = this.#version + this.#uncommitted.length): void {
    this.#version = version
    this.#uncommitted = []
  }

  /** What an event does to the state. It never refuses: the event has happened. */
  protected abstract when(event: Event): void

  protected raise(event: NewEvent<Event>): void {
    this.when(event)
    this.#uncommitted.push(event)
  }

  /** A guard. Throws INVALID_STATE with the state's name and what was tried. */
  protected require(allowed: boolean, state: string, action: string): void {
    if (!allowed) throw new MigrateError('INVALID_STATE', { aggregate: this.id, state, action })
  }

  #replay(event: StoredEvent<Event>): void {
    this.when(event)
    this.#version = event.version
  }
}
