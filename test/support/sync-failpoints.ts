import type { Direction } from '../../src/model/progress.ts'

/**
 * The failpoints on a batch's way through the sink, in the order in which it comes by, for both directions
 * (`sync.forward.before-ack`). `planned` = the engine has no such place yet: change it to `built` with the place.
 * MIGRATE_FAILPOINTS=all takes all of them.
 */
const FAILPOINTS: Readonly<Record<string, 'built' | 'planned'>> = {
  /** the checkpoint is set, no row is written yet */
  'after-checkpoint': 'planned',
  /** in the middle of a transaction that is written in parts */
  part: 'planned',
  /** everything is written */
  'before-commit': 'planned',
  /** committed, not acknowledged */
  'before-ack': 'built',
  'after-ack': 'planned',
}

/** The full names of those that a worker must come to. */
export function failpointNames(direction: Direction): readonly string[] {
  const all = process.env.MIGRATE_FAILPOINTS === 'all'
  return Object.entries(FAILPOINTS)
    .filter(([, state]) => all || state === 'built')
    .map(([name]) => `sync.${direction}.${name}`)
}
