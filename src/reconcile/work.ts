import type { StoredRange, StoredTable } from './ports.ts'

/** A pass that was not finished within this time begins again, seconds. */
const OLDEST_PASS = 24 * 3600

export interface Work {
  readonly relation: string
  readonly range: StoredRange
}

/**
 * The tables over which a new pass begins; the others go on with theirs. A pass that was broken off is finished first:
 * tables that it is through with are not looked at again before.
 */
export function passesToBegin(tables: readonly StoredTable[], now: { epoch: number; strict: boolean }): string[] {
  const unfinished = (table: StoredTable): boolean =>
    table.passAge !== null &&
    table.passAge < OLDEST_PASS &&
    table.epoch === now.epoch &&
    (table.strict || !now.strict) &&
    table.ranges.some((range) => !range.done)
  const going = tables.filter(unfinished)
  const oldest = Math.max(...going.map(({ passAge }) => passAge ?? 0))
  const isThrough = ({ passAge, epoch, strict }: StoredTable): boolean =>
    going.length > 0 && passAge !== null && passAge <= oldest && epoch === now.epoch && (strict || !now.strict)
  return tables.filter((table) => !going.includes(table) && !isThrough(table)).map(({ relation }) => relation)
}

/** What is left of the pass: ranges known to be wrong or doubtful first, then those verified longest ago. */
export function orderWork(tables: readonly StoredTable[]): Work[] {
  return tables
    .flatMap(({ relation, ranges }) => ranges.filter(({ done }) => !done).map((range) => ({ relation, range })))
    .map((work, at) => ({ work, at }))
    .sort((a, b) => urgency(b.work.range) - urgency(a.work.range) || a.at - b.at)
    .map(({ work }) => work)
}

function urgency({ state, verifiedAge }: StoredRange): number {
  if (state === 'drift' || state === 'unsettled' || state === 'failed') return Number.MAX_VALUE
  return verifiedAge ?? Number.MAX_SAFE_INTEGER
}
