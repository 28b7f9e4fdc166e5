import type { Lsn } from '../model/lsn.ts'

/** A source as it is now, with the slot and the publication of one pipeline. */
export interface SourceReading {
  readonly systemIdentifier: string
  readonly timeline: number
  /** end of the log that is on its disk */
  readonly walEnd: Lsn
  readonly slot: SlotReading | null
  readonly publication: PublicationReading
}

export interface SlotReading {
  readonly walStatus: string
  readonly confirmed: Lsn
  /** it belongs to this database and to our plugin */
  readonly usable: boolean
}

export interface PublicationReading {
  /** changes whenever it, or the entry of one of our tables, is made again or altered; null = it is gone */
  readonly fingerprint: string | null
  /** our tables that it lacks */
  readonly missing: readonly string[]
}

/** What a pipeline remembers of its source. */
export interface Origin {
  readonly systemIdentifier: string
  /** null: noted by a version that did not know them */
  readonly timeline: number | null
  readonly publication: string | null
}

export type SlotFault =
  | { readonly kind: 'other-server'; readonly found: string; readonly expected: string }
  | { readonly kind: 'other-timeline'; readonly found: number; readonly expected: number }
  /** the source's log ends before what was already read from it: it was restored from an older state */
  | { readonly kind: 'rewound'; readonly walEnd: Lsn }
  | { readonly kind: 'slot-gone' }
  | { readonly kind: 'slot-invalid'; readonly walStatus: string }
  /** somebody has moved the slot on or made it again: what lies between was never read */
  | { readonly kind: 'slot-ahead'; readonly confirmed: Lsn }
  | { readonly kind: 'publication'; readonly missing: readonly string[] }

/**
 * Can a pipeline go on from its checkpoint without a gap? Null = yes. We confirm only what is durable in the target, so
 * a slot never is ahead of the checkpoint; one that was made again is: its first position lies behind everything that
 * was in the log before. So that nobody is called ahead who is not, `checkpoint.latest` must not be older than the
 * reading, `checkpoint.earliest` not newer; null = not known now.
 */
export function faultOf(
  reading: SourceReading,
  origin: Origin,
  checkpoint: { readonly earliest: Lsn | null; readonly latest: Lsn | null },
): SlotFault | null {
  const { systemIdentifier: found, timeline, walEnd, slot, publication } = reading
  if (found !== origin.systemIdentifier) return { kind: 'other-server', found, expected: origin.systemIdentifier }
  if (origin.timeline !== null && timeline !== origin.timeline) {
    return { kind: 'other-timeline', found: timeline, expected: origin.timeline }
  }
  if (checkpoint.earliest !== null && walEnd < checkpoint.earliest) return { kind: 'rewound', walEnd }
  if (slot === null) return { kind: 'slot-gone' }
  if (slot.walStatus === 'lost') return { kind: 'slot-invalid', walStatus: slot.walStatus }
  if (!slot.usable) return { kind: 'slot-invalid', walStatus: 'of another database or plugin' }
  const { confirmed } = slot
  if (checkpoint.latest !== null && confirmed > checkpoint.latest) return { kind: 'slot-ahead', confirmed }
  const changed = origin.publication !== null && publication.fingerprint !== origin.publication
  if (publication.missing.length > 0 || changed) return { kind: 'publication', missing: publication.missing }
  return null
}
