import type { Direction } from '../model/progress.ts'
import type { Stage } from '../model/stage.ts'

/** The authority row and the fence, by the clock of the monolith's server. */
export interface AuthorityReading {
  readonly side: 'monolith' | 'service'
  readonly epoch: number
  readonly fence: bigint
  readonly closed: boolean
}

export interface RowKey {
  /** schema.table */
  readonly table: string
  readonly key: readonly (Buffer | string | null)[]
}

export interface WorkerReading {
  /** seconds since the worker last said anything */
  readonly age: number
  readonly phase: string
  readonly state: string
  readonly applied: bigint | null
  readonly source: bigint | null
  /** row changes on the side that nobody may write to */
  readonly foreign: number
}

export interface RouterReading {
  readonly instance: string
  /** seconds since the router last said anything */
  readonly age: number
  readonly version: number
  readonly writes: number
  readonly legs: number
}

export interface VerificationReading {
  /** seconds since the oldest row was verified under the present authority; null = not all rows were */
  readonly age: number | null
  /** rows known to differ */
  readonly drift: number
}

/**
 * Everything a cutover or rollback of one service does to the world. Each call that changes something carries the
 * run's fencing token and does nothing (TAKEN_OVER) when a newer run was there; each is one statement on the server.
 */
export interface MovePorts {
  authority(): Promise<AuthorityReading>
  stage(): Promise<Stage>

  /** routers hold new writes; returns the version of the policy that says so */
  holdWrites(run: number, milliseconds: number): Promise<number>
  /** ends the hold of this run and, with `stage`, moves the service there in the same change */
  releaseWrites(run: number, stage?: Stage): Promise<number>
  routers(): Promise<readonly RouterReading[]>

  worker(direction: Direction): Promise<WorkerReading | null>
  /** who has paused the sync of the service, since when; null = nobody */
  paused(): Promise<string | null>
  /** end of the log on the side that the direction reads from */
  sourcePosition(direction: Direction): Promise<bigint>
  setGrace(run: number, milliseconds: number): Promise<void>
  openLegs(): Promise<number>
  /** noting of touched keys by both pipelines; null ends it */
  track(run: number, on: boolean): Promise<void>
  takeTouched(run: number): Promise<RowKey[]>
  compareAll(): Promise<RowKey[]>
  compareKeys(rows: readonly RowKey[]): Promise<RowKey[]>

  takeFence(run: number, milliseconds: number): Promise<bigint>
  /** resolves also when the fence cannot be lifted but is over */
  liftFence(run: number): Promise<void>
  /** tokens that the pipelines have to pass: `service` writes one into the service's log, `monolith` into its own */
  emitToken(side: 'monolith' | 'service', run: number, mark: string): Promise<string>
  /** the last token that the pipeline's sink has noted durably */
  tokenSeen(direction: Direction): Promise<string | null>
  /**
   * Ends the pipeline's claim; forward also writes reverse's start token, in one transaction. (The switch back itself
   * writes forward's.)
   */
  seal(direction: Direction, run: number, epoch: number): Promise<void>
  /** a given-up cutover: the reverse pipeline goes back to dropping what it reads */
  discardReverse(run: number): Promise<void>
  moveSequences(to: 'monolith' | 'service'): Promise<number>

  /** points of no return; return the new epoch */
  switchToService(run: number, fence: bigint, epoch: number): Promise<number>
  switchToMonolith(run: number, epoch: number): Promise<number>
  /** keeps the authority with the service under a new epoch */
  renew(run: number, epoch: number): Promise<number>
  shut(): Promise<void>
  setServiceGate(run: number, epoch: number, mode: 'closed' | 'legs' | 'open'): Promise<void>

  /** what the gates look at */
  crossingForeignKeys(): Promise<readonly { name: string; from: string; to: string }[]>
  longTransactions(seconds: number): Promise<readonly string[]>
  unarmedTables(): Promise<readonly string[]>
  /** the mode of the gate in the service's database, and the one that dual-write wants */
  serviceGate(): Promise<{ readonly mode: string | null; readonly wanted: string }>
  /** second legs that may still run */
  unsettledLegs(): Promise<number>
  /** open ones */
  deadLetters(): Promise<number>
  /** what `reconcile` has found; null until it has run */
  verification(): Promise<VerificationReading | null>
}

/** The journal of runs; see control/journal. */
export interface Journal {
  begin(step: string): Promise<void>
  end(step: string, data: object): Promise<void>
}
