export interface AttemptFacts {
  /** milliseconds until the leg's deadline */
  readonly left: number
  /** tries that have failed */
  readonly failed: number
  /** under so many milliseconds nothing is begun: it could only be given up again */
  readonly least: number
  /** from 0 to below 1 */
  readonly random: number
}

/** How long a try may take, and the wait before it; milliseconds. */
export interface Attempt {
  readonly wait: number
  readonly limit: number
}

/**
 * The next try of a leg; null = none that could end in time. Exponential backoff with full jitter, so that the legs of
 * many keys do not come back to a service all at once. A try takes half of what is left, as long as that is a useful
 * time, so that one lost packet does not use up the whole deadline. Pure.
 */
export function nextAttempt({ left, failed, least, random }: AttemptFacts): Attempt | null {
  if (left < least) return null
  const longest = failed === 0 ? 0 : Math.min(8 * least, (least / 2) * 2 ** (failed - 1))
  const wait = Math.min(random * longest, left - least)
  const remaining = left - wait
  return { wait, limit: remaining >= 4 * least ? remaining / 2 : remaining }
}
