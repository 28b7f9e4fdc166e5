import { asMigrateError, EXIT, MigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import { retry } from '../retry.ts'

/** One worker of several in a process. */
export interface Part {
  /** e.g. `sync users` */
  readonly name: string
  /** until the signal, which it obeys in order */
  readonly run: (signal: AbortSignal) => Promise<void>
  /** who does this part's work already, so that it may not run here now; null = nobody */
  readonly holder: () => Promise<Holder | null>
  /** it failed; `final`: and is not started again */
  readonly onFailure?: (error: MigrateError, final: boolean) => void
  readonly close?: () => Promise<void>
}

export interface Holder {
  /** host/pid */
  readonly holder: string
  readonly since: string
}

export type PartEvent =
  | { readonly state: 'started' }
  | ({ readonly state: 'standby' } & Holder)
  /** it failed, and is started again soon */
  | { readonly state: 'restarting'; readonly error: MigrateError }
  /** it failed for good: somebody has to act */
  | { readonly state: 'failed'; readonly error: MigrateError }
  | { readonly state: 'stopped' }

/** A lease lives 10 s after its holder's death; looking every second leaves time to start within 15 s. */
const LOOK_EVERY = 1_000
/** A part that ran for so long begins with the shortest wait again, milliseconds. */
const STEADY = 60_000

/**
 * Runs a part until the signal: again, ever more slowly, after errors that pass by themselves; never while another
 * process does its work. Returns the error that ended it for good. Never rejects.
 */
export async function supervise(part: Part, options: Supervision): Promise<MigrateError | null> {
  const { signal, onEvent } = options
  try {
    await again(part, options)
    onEvent({ state: 'stopped' })
    return null
  } catch (thrown) {
    if (signal.aborted) {
      onEvent({ state: 'stopped' })
      return null
    }
    const error = asMigrateError(thrown)
    part.onFailure?.(error, true)
    onEvent({ state: 'failed', error })
    return error
  } finally {
    await part.close?.()
  }
}

export interface Supervision {
  readonly signal: AbortSignal
  readonly onEvent: (event: PartEvent) => void
}

async function again(part: Part, { signal, onEvent }: Supervision): Promise<void> {
  const onRetry = (thrown: Error): void => {
    const error = asMigrateError(thrown)
    // also called for the last error, after which nothing is tried again
    if (error.retry !== 'timed' || signal.aborted) return
    part.onFailure?.(error, false)
    onEvent({ state: 'restarting', error })
  }
  for (;;) {
    const end = await retry(() => attempt(part, { signal, onEvent }), { signal, first: 500, slowest: 5_000, onRetry })
    if (end.kind === 'stopped') return
    if (end.kind === 'failed') onRetry(end.error)
    await pause(LOOK_EVERY, signal)
  }
}

type End = { kind: 'stopped' } | { kind: 'locked' } | { kind: 'failed'; error: MigrateError }

async function attempt(part: Part, options: Supervision): Promise<End> {
  const { signal, onEvent } = options
  await standBy(part, options)
  const started = performance.now()
  onEvent({ state: 'started' })
  try {
    await part.run(signal)
  } catch (thrown) {
    signal.throwIfAborted()
    const error = asMigrateError(thrown)
    // somebody was faster, or it could not renew its lease: the next round finds out which
    if (error.exit === EXIT.locked) return { kind: 'locked' }
    if (error.retry === 'timed' && performance.now() - started > STEADY) return { kind: 'failed', error }
    throw error
  }
  if (signal.aborted) return { kind: 'stopped' }
  throw new MigrateError('INTERNAL', { reason: `${part.name} has ended by itself` })
}

async function standBy(part: Part, { signal, onEvent }: Supervision): Promise<void> {
  let told = ''
  for (;;) {
    const found = await part.holder()
    if (found === null) return
    if (found.holder + found.since !== told) onEvent({ state: 'standby', ...found })
    told = found.holder + found.since
    await pause(LOOK_EVERY, signal)
  }
}
