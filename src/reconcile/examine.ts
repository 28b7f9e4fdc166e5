import { differingBuckets, differingKeys, groupBuckets } from './merge.ts'
import type { Bucket, ComparedTable, KeyRange, KeyText, Seeds } from './ports.ts'

export interface Examined {
  /** of the authority */
  readonly rows: number
  /** keys whose rows differ as they were read */
  readonly suspects: readonly KeyText[]
  /** there are more suspects than are named */
  readonly truncated: boolean
}

/** Rows whose keys are fetched with one statement, about; and suspects that are named of one range, about. */
const GROUP_ROWS = 20_000
const MOST_SUSPECTS = 5_000

/** Compares one range: one digest a side, then the keys of the buckets that differ. */
export async function examine(table: ComparedTable, range: KeyRange, seeds: Seeds): Promise<Examined> {
  const { authority, copy } = table
  const [left, right] = await Promise.all([authority.digest(range, seeds), copy.digest(range, seeds)])
  const rows = rowsOf(left)
  const suspects: KeyText[] = []
  for (const buckets of groupBuckets(differingBuckets(left, right), GROUP_ROWS)) {
    if (suspects.length >= MOST_SUSPECTS) return { rows, suspects: suspects.slice(0, MOST_SUSPECTS), truncated: true }
    const [mine, theirs] = await Promise.all([
      authority.hashes(range, seeds, buckets),
      copy.hashes(range, seeds, buckets),
    ])
    suspects.push(...differingKeys(mine, theirs))
  }
  const truncated = suspects.length > MOST_SUSPECTS
  return { rows, suspects: suspects.slice(0, MOST_SUSPECTS), truncated }
}

function rowsOf(buckets: readonly Bucket[]): number {
  return buckets.reduce((sum, { rows }) => sum + rows, 0)
}
