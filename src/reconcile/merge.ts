import type { Bucket, KeyHash, KeyText } from './ports.ts'

/** The buckets in which the sides differ, with the rows that the larger side has there. */
export function differingBuckets(left: readonly Bucket[], right: readonly Bucket[]): Bucket[] {
  const other = new Map(right.map((bucket) => [bucket.bucket, bucket]))
  const differing: Bucket[] = []
  for (const mine of left) {
    const theirs = other.get(mine.bucket)
    other.delete(mine.bucket)
    // the count too: a sum alone would take rows whose hashes add up to zero for none
    if (theirs?.rows === mine.rows && theirs.sum === mine.sum) continue
    differing.push(theirs === undefined || theirs.rows < mine.rows ? mine : theirs)
  }
  return [...differing, ...other.values()]
}

/** Groups of buckets of at most about so many rows each, so that the keys of one group fit into memory. */
export function groupBuckets(buckets: readonly Bucket[], rows: number): number[][] {
  const groups: number[][] = []
  let room = 0
  for (const bucket of buckets) {
    if (groups.length === 0 || bucket.rows > room) {
      groups.push([])
      room = rows
    }
    groups.at(-1)?.push(bucket.bucket)
    room -= bucket.rows
  }
  return groups
}

/** The keys that only one side has, or both with another hash. */
export function differingKeys(left: readonly KeyHash[], right: readonly KeyHash[]): KeyText[] {
  const other = new Map(right.map(({ key, hash }) => [JSON.stringify(key), hash]))
  const differing: KeyText[] = []
  for (const { key, hash } of left) {
    const name = JSON.stringify(key)
    if (other.get(name) !== hash) differing.push(key)
    other.delete(name)
  }
  return [...differing, ...[...other.keys()].map((name) => JSON.parse(name) as string[])]
}
