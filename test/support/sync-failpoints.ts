import type { Direction } from '../../src/model/progress.ts'

/** On a batch's way through the sink, in the order in which it comes by. */
const FAILPOINTS = [
  /** the checkpoint is set, no row is written yet */
  'after-checkpoint',
  /** in the middle of a transaction that is written in parts */
  'part',
  /** everything is written */
  'before-commit',
  /** committed, not acknowledged */
  'before-ack',
  'after-ack',
] as const

/** The full names, which a worker must come to. */
export function failpointNames(direction: Direction): readonly string[] {
  return FAILPOINTS.map((name) => `sync.${direction}.${name}`)
}
