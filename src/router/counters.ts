/** What one router instance has done since it started; only ever grows. */
export class Counters {
  requests = 0
  /** refused by the request gate */
  gateRefused = 0
  /** refused because a limit of this instance was reached */
  overloaded = 0
  readsMonolith = 0
  readsService = 0
  /** reads that the service failed to answer and the monolith was asked for */
  fallbacks = 0
  /** reads kept on the monolith because of a write of the same user or entity */
  ownWriteReads = 0
  /** reads kept on the monolith because the service had too many under way */
  busyReads = 0
  /** reads sent to the monolith a second time because its connection had gone stale */
  retriedReads = 0
  writesMonolith = 0
  writesService = 0
  held = 0
  released = 0
  /** held writes answered with 503 */
  heldExpired = 0
  heldRefused = 0
  /** held writes dropped unsent because the client had gone */
  heldGone = 0
  /** writes refused because no policy was ever read */
  unknownAuthority = 0
  tooLarge = 0
  upstreamErrors = 0
  upstreamTimeouts = 0
  upgrades = 0
  /** informational answers that could not be passed on */
  informationalDropped = 0
  /** marks that were folded into the one for everybody */
  marksFolded = 0
  positionFailures = 0
  policyReads = 0
  policyFailures = 0
  /** the authority rows could not be read either */
  authorityFailures = 0
  policyRejected = 0
  reports = 0
  reportFailures = 0

  snapshot(): CounterSnapshot {
    return { ...this }
  }
}

export type CounterSnapshot = Readonly<Omit<Counters, 'snapshot'>>
