import type { ConnectionPool } from '../model/service-database.ts'
import { driverFacts, isTransient } from '../model/transient.ts'
import { inTransaction } from '../transaction.ts'
import { type Context, storable } from './call.ts'
import { DEFAULT_TIMEOUT } from './decide.ts'
import type { Step } from './definition.ts'
import { type Entry, faultOf } from './entry.ts'
import { type Claimed, commitMoves, lockForLocal, type Move, type Moved } from './journal.ts'
import { placeOf } from './record.ts'
import { isRefusal } from './refusal.ts'

interface LocalRun {
  readonly saga: Claimed
  readonly step: Step
  readonly context: Context
  /** milliseconds that its transaction may rest */
  readonly idle: number
  readonly failpoint: ((name: string) => Promise<void>) | null
}

type LocalOutcome =
  | { readonly do: 'committed'; readonly moved: Moved }
  /** rolled back */
  | { readonly do: 'failed'; readonly error: unknown; readonly refused: Entry | null }
  /** the saga is not as it was seen, or it is not known whether it was committed */
  | { readonly do: 'unclear' }

/** A step and its entry in the journal, in one transaction. `moveOf` makes the commit of what is added to the record. */
export async function runLocal(
  pool: ConnectionPool,
  { saga, step, context, idle, failpoint }: LocalRun,
  moveOf: (done: Entry) => Move,
): Promise<LocalOutcome> {
  const { timeout = DEFAULT_TIMEOUT } = step
  const { direction } = context
  let [committing, over] = [false, false]
  let done: Entry | null = null
  try {
    const moved = await inTransaction(pool, async (tx) => {
      if (!(await lockForLocal(tx, saga, { timeout, idle: Math.min(timeout, idle) }))) return null
      const action = step.action as Extract<Step['action'], { by: 'local' }>
      const result = storable(await action[direction]?.(tx, context))
      done = {
        do: 'done',
        step: step.name,
        direction,
        ...(direction === 'execute' && result !== undefined && { result }),
      }
      await failpoint?.(`saga.before-${placeOf(done)}`)
      // its connection was lost meanwhile, and somebody else decides what comes next
      if (over) throw new Error('the transaction has ended')
      const [found] = await commitMoves(tx, [moveOf(done)])
      committing = true
      return found ?? null
    })
    if (done !== null) await failpoint?.(`saga.after-${placeOf(done)}`)
    return moved === null ? { do: 'unclear' } : { do: 'committed', moved }
  } catch (error) {
    over = true
    // it may have been committed: the journal knows
    if (committing && !isAnswer(error)) return { do: 'unclear' }
    const refused = direction === 'execute' && isRefusal(error)
    return {
      do: 'failed',
      error: explained(error),
      refused: refused ? { do: 'refused', step: step.name, error: faultOf(error) } : null,
    }
  }
}

/** The server says only that something was wrong before; whoever reads that looks for it in the wrong place. */
function explained(error: unknown): unknown {
  const { code, message } = driverFacts(error)
  if (code !== ABORTED) return error
  const why = 'a statement of the step has failed, and the step went on: an await is missing, or its error was caught'
  return Object.assign(new Error(`${why} (${message})`, { cause: error }), { code })
}

/** The server has refused the commit, as a deferred constraint does: it was rolled back, and would be again. */
function isAnswer(error: unknown): boolean {
  const { code } = driverFacts(error)
  return /^[0-9A-Z]{5}$/.test(code) && code !== COMPLETION_UNKNOWN && !isTransient(error)
}

const COMPLETION_UNKNOWN = '40003'
const ABORTED = '25P02'
