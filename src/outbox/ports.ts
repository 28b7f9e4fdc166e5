/** A message as it goes to the broker. */
export interface OutboundMessage {
  readonly topic: string
  /** what has one key goes to one partition, in order; null = anywhere */
  readonly key: string | Buffer | null
  readonly value: string | Buffer | null
  readonly headers: Readonly<Record<string, string | Buffer>>
}

/** The broker, for one who writes. */
export interface Publisher extends AsyncDisposable {
  /**
   * Resolves when all of them are on enough disks, in order per key, visible together or not at all. After a rejection
   * none of them is visible, or all are: the same may be published again. Throws BROKER_UNAVAILABLE, PUBLISHER_REPLACED.
   */
  publish(messages: readonly OutboundMessage[]): Promise<void>
}
