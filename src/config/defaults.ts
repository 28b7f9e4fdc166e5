const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const MIB = 1024 ** 2
const GIB = 1024 ** 3

/** Every number that a user may ask about, in one table. Times in milliseconds, sizes in bytes. */
export const DEFAULTS = {
  gateLagMs: 2 * SECOND,
  gateLagForMs: 60 * SECOND,
  gateVerificationAgeMs: 24 * HOUR,
  gateMismatchRatio: 0.001,
  gateMismatchSamples: 10_000,
  fenceAttemptMs: 200,
  writeOutageMs: 3 * SECOND,
  heldWrites: 1_000,
  heldBytes: 64 * MIB,
  heldForMs: 10 * SECOND,
  leaseMs: 10 * SECOND,
  leaseRenewMs: 3 * SECOND,
  slotDetachRatio: 0.5,
  slotDetachBytes: 10 * GIB,
  dualWriteGraceMs: 1 * SECOND,
  maxRequestMs: 60 * SECOND,
  dualWriteAddedMs: 3,
  sequenceHeadroom: 1_000,
  sequenceHeadroomRateMs: 1 * HOUR,
  alertAfterMs: 1 * MINUTE,
  reconcileEveryMs: 5 * MINUTE,
  reconcileBudgetMs: 4 * MINUTE,
  cleanupQuietMs: 7 * DAY,
  batchMs: 50,
  batchBytes: 4 * MIB,
  batchRows: 20_000,
  maxSnapshotAgeMs: 10 * MINUTE,
  listen: '127.0.0.1:8080',
} as const

/** What each default means; docs/reference/config.md prints it. */
export const DEFAULT_MEANINGS: Record<keyof typeof DEFAULTS, string> = {
  gateLagMs: 'highest replication lag with which a cutover starts',
  gateLagForMs: 'how long the lag must have stayed under it',
  gateVerificationAgeMs: 'highest age of the last full verification',
  gateMismatchRatio: 'highest share of compared answers that may differ',
  gateMismatchSamples: 'fewest compared answers that count',
  fenceAttemptMs: 'how long one attempt to fence may make writers of the monolith wait',
  writeOutageMs: 'longest time without a writer in a cutover',
  heldWrites: 'writes that a router holds during a cutover; more get 503 with Retry-After',
  heldBytes: 'bytes of held writes',
  heldForMs: 'how long a write is held',
  leaseMs: 'lifetime of a lease; a killed run is taken over after it',
  leaseRenewMs: 'how often a lease is renewed',
  slotDetachRatio: 'share of max_slot_wal_keep_size at which a slot whose target does not follow is given up',
  slotDetachBytes: 'the log that such a slot may keep where max_slot_wal_keep_size is unlimited',
  dualWriteGraceMs: 'deadline of the second leg; sync waits as long before it repairs',
  maxRequestMs: 'longest request of the monolith, and of a service without `idempotent()`',
  dualWriteAddedMs: 'what dual writes may add to the median of a write',
  sequenceHeadroom: 'how far sequences are moved ahead at a switch, at least',
  sequenceHeadroomRateMs: 'and at least what the measured rate uses in this time',
  alertAfterMs: 'how long a sync may fail to go on before the alert sync-failed',
  reconcileEveryMs: 'how often a service is compared with the monolith',
  reconcileBudgetMs: 'how long one comparison may take',
  cleanupQuietMs: 'how long the old tables must have been quiet before cleanup',
  batchMs: 'how long a batch of changes is collected, at once when the sink is idle',
  batchBytes: 'size at which a batch closes',
  batchRows: 'rows at which a batch closes',
  maxSnapshotAgeMs: 'longest time that one snapshot stays open on the monolith',
  listen: 'where `route serve` listens',
}
