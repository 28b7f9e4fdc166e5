import type { ComparedTable, DriftKind, KeyText, RowLook, Seeds } from './ports.ts'

/** A key whose rows differed when they were last read. */
export interface Suspect {
  readonly relation: string
  readonly key: KeyText
}

export interface Confirmed extends Suspect {
  readonly kind: DriftKind
}

export interface Settled {
  readonly confirmed: readonly Confirmed[]
  readonly cleared: readonly Suspect[]
  /** touched again and again: nothing can be said about them */
  readonly inFlight: readonly Suspect[]
}

export interface SettleOptions {
  readonly tables: ReadonlyMap<string, ComparedTable>
  readonly seeds: Seeds
  /** Resolves when the copy holds all that was committed before the call; false: there is no time left to wait for it. */
  readonly passFence: () => Promise<boolean>
}

/** Rows of both sides, the copy's read first. */
interface Look {
  readonly authority: RowLook | null
  readonly copy: RowLook | null
}

type Verdict = 'cleared' | 'confirmed' | 'in-flight'

/** A hot key is equal at some look, or quiet between two; one that is neither in so many looks is given up for now. */
const ROUNDS = 20
const PAGE = 1_000

/**
 * Looks at the suspects again and again, each time after a fence has passed the pipeline. While writes flow a row that
 * differs may only be on its way: it is drift when it differs in two looks around a fence and neither side has touched
 * it in between.
 */
export async function settle(suspects: readonly Suspect[], options: SettleOptions): Promise<Settled> {
  const confirmed: Confirmed[] = []
  const cleared: Suspect[] = []
  // where the sides order keys differently one key may be suspected in two ranges
  const unique = new Map(suspects.map((suspect) => [JSON.stringify([suspect.relation, suspect.key]), suspect]))
  let open = [...unique.values()].map((suspect) => ({ suspect, before: null as Look | null }))
  for (let round = 0; open.length > 0 && round <= ROUNDS; round++) {
    if (round > 0 && !(await options.passFence())) break
    const looks = await lookAt(
      open.map(({ suspect }) => suspect),
      options,
    )
    const next: typeof open = []
    for (const [at, { suspect, before }] of open.entries()) {
      const now = looks[at] as Look
      const verdict = judge(before, now)
      if (verdict === 'cleared') cleared.push(suspect)
      else if (verdict === 'confirmed') confirmed.push({ ...suspect, kind: kindOf(now) })
      else next.push({ suspect, before: now })
    }
    open = next
  }
  return { confirmed, cleared, inFlight: open.map(({ suspect }) => suspect) }
}

/**
 * Pure. Between `before` and `now` a fence has passed. If the authority's version is the same, nobody has written the
 * row between the two looks, and everything older is applied: the copy has to be equal. A row that the authority has in
 * neither look may have come and gone in between; then the copy's version is not the same. In dual-write that is all it
 * takes for held changes and open legs: a fence passes behind the grace, and a leg is revoked or over by then.
 */
function judge(before: Look | null, now: Look): Verdict {
  if (now.authority?.hash === now.copy?.hash) return 'cleared'
  if (before === null) return 'in-flight'
  const untouched = before.authority?.version === now.authority?.version && before.copy?.version === now.copy?.version
  return untouched ? 'confirmed' : 'in-flight'
}

function kindOf({ authority, copy }: Look): DriftKind {
  if (copy === null) return 'missing'
  return authority === null ? 'extra' : 'different'
}

async function lookAt(suspects: readonly Suspect[], { tables, seeds }: SettleOptions): Promise<Look[]> {
  const looks: Look[] = []
  for (const [relation, table] of tables) {
    const mine = [...suspects.entries()].filter(([, suspect]) => suspect.relation === relation)
    for (let start = 0; start < mine.length; start += PAGE) {
      const part = mine.slice(start, start + PAGE)
      const keys = part.map(([, { key }]) => key)
      // the copy first: what it shows was committed by the authority before the authority is read
      const copy = await table.copy.look(keys, seeds)
      const authority = await table.authority.look(keys, seeds)
      for (const [i, [at]] of part.entries()) looks[at] = { authority: authority[i] ?? null, copy: copy[i] ?? null }
    }
  }
  return looks
}
