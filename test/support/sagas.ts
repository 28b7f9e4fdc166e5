import { type SagasOptions, Sagas } from '../../src/index.ts'
import type { Eventing } from './eventing.ts'

/** A worker of this process; ends with the block that opened it. */
export interface Running extends AsyncDisposable {
  readonly sagas: Sagas
  readonly troubles: Error[]
  stop(): Promise<void>
}

export function runSagas({ pool }: Pick<Eventing, 'pool'>, options: SagasOptions): Running {
  const troubles: Error[] = []
  const sagas = new Sagas(pool, { poll: 100, onTrouble: (error) => troubles.push(error), ...options })
  const ending = new AbortController()
  const running = sagas.run({ signal: ending.signal })
  const stop = (): Promise<void> => {
    ending.abort()
    return running
  }
  return { sagas, troubles, stop, [Symbol.asyncDispose]: stop }
}

/** A table in which participants note what they do. */
export const startNotes = (db: Eventing) =>
  db.query(`create table note (n bigint generated always as identity, saga uuid, text text)`)

/** What the participants of a saga did, in order. */
export async function notesOf(db: Eventing, saga: string): Promise<string[]> {
  const rows = await db.query<{ text: string }>(`select text from note where saga = $1 order by n`, [saga])
  return rows.map(({ text }) => text)
}
