import { MigrateError } from '../errors.ts'
import type { EventDefinitions, EventOf, NewEvent } from './define.ts'
import type { EventStore } from './store.ts'

/** An aggregate as three functions without effects. */
export interface Decider<State, Command, Event extends { readonly type: string; readonly data: unknown }> {
  readonly initialState: () => State
  /** What follows from a command; it throws when the state does not allow it. */
  readonly decide: (command: Command, state: State) => readonly NewEvent<Event>[]
  readonly evolve: (state: State, event: Event) => State
  /** of the form of the state, for snapshots; without it none are taken */
  readonly snapshotVersion?: number
  /** a snapshot each so many events; default 100 */
  readonly snapshotEvery?: number
}

export interface Handled<State> {
  readonly state: State
  readonly version: number
  /** how many events the command has made */
  readonly events: number
}

/**
 * Loads the stream (from its snapshot on), decides, appends what follows; once more from the beginning when somebody
 * else was quicker, up to `tries` (default 5). Throws what `decide` throws, and STREAM_CONFLICT after the last try.
 */
export async function handleCommand<Definitions extends EventDefinitions, State, Command>(
  store: EventStore<Definitions>,
  decider: Decider<State, Command, EventOf<Definitions>>,
  { stream, command, tries = 5 }: { readonly stream: string; readonly command: Command; readonly tries?: number },
): Promise<Handled<State>> {
  for (let attempt = 1; ; attempt++) {
    const { state, version, from } = await load(store, decider, stream)
    const events = decider.decide(command, state)
    if (events.length === 0) return { state, version, events: 0 }
    try {
      const appended = await store.append(stream, events, { expectedVersion: version })
      const after = events.reduce<State>(decider.evolve, state)
      await keepSnapshot(store, decider, { stream, state: after, from, version: appended.version })
      return { state: after, version: appended.version, events: events.length }
    } catch (error) {
      const isConflict = error instanceof MigrateError && error.code === 'STREAM_CONFLICT'
      if (!isConflict || attempt >= tries) throw error
    }
  }
}

async function load<Definitions extends EventDefinitions, State, Command>(
  store: EventStore<Definitions>,
  { initialState, evolve, snapshotVersion }: Decider<State, Command, EventOf<Definitions>>,
  stream: string,
): Promise<{ state: State; version: number; from: number }> {
  const snapshot = snapshotVersion === undefined ? null : await store.loadSnapshot(stream, snapshotVersion)
  let state = snapshot === null ? initialState() : (snapshot.state as State)
  let version = snapshot?.version ?? 0
  const from = version
  for await (const event of store.readAll(stream, version + 1)) {
    state = evolve(state, event)
    version = event.version
  }
  return { state, version, from }
}

async function keepSnapshot<Definitions extends EventDefinitions, State, Command>(
  store: EventStore<Definitions>,
  { snapshotVersion, snapshotEvery = 100 }: Decider<State, Command, EventOf<Definitions>>,
  { stream, state, from, version }: { stream: string; state: State; from: number; version: number },
): Promise<void> {
  if (snapshotVersion === undefined || version - from < snapshotEvery) return
  // the command is done: without a snapshot the next one has more to read
  await store.saveSnapshot(stream, { version, schemaVersion: snapshotVersion, state }).catch(() => undefined)
}
