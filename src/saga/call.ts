import type { Action, CompensationContext, Probe, StepContext } from './definition.ts'
import { type Entry, type Fault, faultOf, readable } from './entry.ts'
import { isRefusal } from './refusal.ts'

export type Call = Extract<Action, { by: 'call' }>
// biome-ignore lint/suspicious/noExplicitAny: the builder has seen to the types
export type Context = StepContext<any, any> & CompensationContext<any, any, any>

/** How one try of a call ended; `unknown` comes with the error itself, whose class the policy may ask for. */
export type Outcome =
  | { readonly entry: Extract<Entry, { do: 'done' | 'refused' }> }
  | { readonly unknown: Error; readonly fault: Fault }

/**
 * One try. Asks first what became of the one before it, where that is possible. Never rejects; what does not answer in
 * `timeout` milliseconds, or until the signal aborts, is unknown. `probing`: it only asks.
 */
export async function tryCall(
  action: Call,
  context: Context,
  { timeout, probing }: { readonly timeout: number; readonly probing: boolean },
): Promise<Outcome> {
  const { step, direction, doubtful } = context
  const time = new AbortController()
  const timer = setTimeout(() => time.abort(new TimeoutError(timeout)), timeout)
  const signal = AbortSignal.any([context.signal, time.signal])
  try {
    const run = async (): Promise<Outcome> => {
      const within = { ...context, signal }
      if (direction === 'compensate') {
        await action.compensate?.(within)
        return { entry: { do: 'done', step, direction } }
      }
      const found = doubtful ? await action.probe?.(within) : undefined
      if (found !== undefined && (probing || found.outcome !== 'not-done')) return probed(step, found)
      const result = storable(await action.execute(within))
      return { entry: { do: 'done', step, direction, ...(result !== undefined && { result }) } }
    }
    return await Promise.race([run(), aborted(signal)])
  } catch (error) {
    if (direction === 'execute' && isRefusal(error)) {
      return { entry: { do: 'refused', step, error: faultOf(error) } }
    }
    return { unknown: error instanceof Error ? error : new Error(readable(error)), fault: faultOf(error) }
  } finally {
    clearTimeout(timer)
  }
}

function probed(step: string, found: Probe<unknown>): Outcome {
  if (found.outcome === 'done') {
    return { entry: { do: 'done', step, direction: 'execute', result: storable(found.result), via: 'probe' } }
  }
  const what = found.outcome === 'unknown' ? 'does not know what became of it' : 'has not done it so far'
  const error = new Error(`the participant ${what}`)
  return { unknown: error, fault: { code: 'PROBE', message: error.message } }
}

class TimeoutError extends Error {
  override readonly name = 'TimeoutError'
  readonly code = 'TIMEOUT'

  constructor(milliseconds: number) {
    super(`there was no answer in ${milliseconds} ms`)
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (): void => reject(signal.reason as Error)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}

/** As it will be read from the journal. Throws for what JSON or PostgreSQL does not take. */
export function storable(result: unknown, what = 'the result of the step'): unknown {
  if (result === undefined) return undefined
  return JSON.parse(jsonOf(result, what)) as unknown
}

/** JSON that PostgreSQL takes. Throws TypeError, which begins with `what`: a step has done its work by then. */
export function jsonOf(value: unknown, what: string): string {
  const text = written(value, what)
  if (text === undefined) throw new TypeError(`${what} is not JSON`)
  const defect = defectOf(text)
  if (defect !== null) throw new TypeError(`${what} ${defect}`)
  return text
}

function written(value: unknown, what: string): string | undefined {
  try {
    return JSON.stringify(value)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : readable(cause)
    throw new TypeError(`${what} is not JSON: ${reason}`, { cause })
  }
}

/** Why PostgreSQL would not take JSON as JSON.stringify writes it; null: it does. */
function defectOf(json: string): string | null {
  if (json.length > LONGEST) return 'is larger than 64 MiB: keep it elsewhere, and say here where'
  // jsonb has no NUL, and no half of a character; a backslash before the escape makes it plain text
  return /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/.test(json) ? 'has characters that jsonb does not take' : null
}

/** Characters of up to three bytes each: jsonb ends at 255 MiB. */
const LONGEST = 64 * 1024 * 1024
