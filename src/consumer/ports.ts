/** A record as it came: bytes. */
export interface ConsumedRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  /** milliseconds since 1970 */
  readonly time: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, readonly Buffer[]>>
}

/** What was read of one partition at once. */
export interface Fetched {
  readonly topic: string
  readonly partition: number
  /** grows with each rebalance */
  readonly generation: number
  /** the offset that was asked for */
  readonly from: bigint
  /** reading went on where it had ended; false also after a jump that nobody asked for */
  readonly contiguous: boolean
  /** after the last record, and after markers of transactions behind it */
  readonly to: bigint
  /** after the last record of the partition */
  readonly end: bigint
  readonly records: readonly ConsumedRecord[]
}

/** Where reading goes on, and after how many milliseconds. */
export interface Onward {
  readonly next: bigint
  readonly pause?: number
}

/** Handles what was read. `over` turns true when it should come to an end soon: stop, or a rebalance. Never throws. */
export type Reader = (fetched: Fetched, over: () => boolean) => Promise<Onward>

/** A member of a consumer group, and the broker for one who reads. */
export interface Group {
  /** Reads until the signal aborts and what was begun is done. Throws BROKER_UNAVAILABLE. */
  run(reader: Reader, signal: AbortSignal): Promise<void>
  /** The first offset that the partition still has. Throws BROKER_UNAVAILABLE. */
  firstOffset(topic: string, partition: number): Promise<bigint>
}
