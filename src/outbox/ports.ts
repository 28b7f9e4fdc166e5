/** A message as it goes to the broker. */
export interface OutboundMessage {
  readonly topic: string
  /** what has one key goes to one partition, in order; null = anywhere */
  readonly key: string | Buffer | null
  readonly value: string | Buffer | null
  /** a list: several values of one name */
  readonly headers: Readonly<Record<string, string | Buffer | readonly Buffer[]>>
}

/** The broker, for one who writes. */
export interface Publisher extends AsyncDisposable {
  /**
   * Resolves when all of them are on enough disks, in order per key. One with an id: they are visible together or not at
   * all. After a rejection some may be there: the same may be published again. Throws BROKER_UNAVAILABLE,
   * PUBLISHER_REPLACED.
   */
  publish(messages: readonly OutboundMessage[]): Promise<void>
}
