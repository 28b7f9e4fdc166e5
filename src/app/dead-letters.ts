import { serviceOf } from '../config/service.ts'
import {
  closeLetters,
  countOpen,
  type LetterState,
  listLetters,
  readBody,
  readLetters,
  type StoredLetter,
} from '../control/dead-letters.ts'
import { holderName } from '../control/lease.ts'
import { driftedKeys } from '../control/reconcile.ts'
import { MigrateError } from '../errors.ts'
import type { Alerts } from '../model/alert.ts'
import type { ServiceReport } from '../reconcile/report.ts'
import type { RangeProgress } from '../reconcile/run.ts'
import { readAuthority } from '../stores/postgres/fence.ts'
import { type App, installControl } from './open.ts'
import { reconcile } from './reconcile.ts'
import { resyncKeys } from './resync-keys.ts'

/** More are not listed at once. */
const MOST = 1_000
/** Comparisons that one retry makes at most: what one has found is put right before the next. */
const ROUNDS = 4
/** How long one may take, milliseconds: nothing is resolved by half of one. */
const BUDGET = 60 * 60_000

export interface LetterChoice {
  /** empty = all open ones */
  readonly ids: readonly string[]
  /** null = of all services */
  readonly service: string | null
}

/** The letters, oldest first, at most 1,000. Throws SERVICE_UNKNOWN. */
export async function listDeadLetters(app: App, service: string | null, states: readonly LetterState[]) {
  if (service !== null) serviceOf(app.config, service)
  await installControl(app)
  return listLetters(app.control, service, states, MOST)
}

/** One letter, with the beginning of its request's body when that is wanted. Throws DEAD_LETTER_UNKNOWN. */
export async function showDeadLetter(app: App, id: string, withBody: boolean) {
  await installControl(app)
  const [letter] = await readLetters(app.control, [id])
  return { letter: letter as StoredLetter, body: withBody ? await readBody(app.control, id) : null }
}

/** The open letters that are meant. Throws DEAD_LETTER_UNKNOWN and DEAD_LETTER_CLOSED. */
export async function chooseLetters(app: App, { ids, service }: LetterChoice): Promise<StoredLetter[]> {
  if (ids.length === 0) return listDeadLetters(app, service, ['open'])
  if (service !== null) serviceOf(app.config, service)
  await installControl(app)
  const letters = await readLetters(app.control, ids)
  for (const letter of letters) {
    const { id, state } = letter
    if (service !== null && letter.service !== service) throw new MigrateError('DEAD_LETTER_UNKNOWN', { id })
    if (state !== 'open') throw new MigrateError('DEAD_LETTER_CLOSED', { id, state })
  }
  return letters
}

export interface RetryEvents {
  readonly onRange: (range: RangeProgress) => void
  readonly onResync: (service: string, rows: number) => void
}

/**
 * Resolves letters. The old request is never sent again: by now it would count twice. What it has left behind is found
 * by comparing every row of its service, put right from the monolith, and compared again. Not the keys of the request
 * alone: those the sync has written long ago; a letter says that the service did something else, and where is not known.
 * Rows that never rest long enough to be compared are left to the sync, which writes them with every change.
 * Returns the ids that were resolved. Throws what `reconcile` throws, DRIFT_FOUND when rows differ again and again, and
 * RESYNC_REFUSED where the service has the authority.
 */
export async function retryLetters(
  app: App,
  letters: readonly StoredLetter[],
  options: { readonly events: RetryEvents; readonly alerts: Alerts; readonly signal: AbortSignal },
): Promise<string[]> {
  const resolved: string[] = []
  for (const service of new Set(letters.map((letter) => letter.service))) {
    const ids = letters.filter((letter) => letter.service === service).map(({ id }) => id)
    await makeEqual(app, service, options)
    resolved.push(...(await close(app, service, ids, 'resolved', options.alerts)))
  }
  return resolved
}

/** Closes letters of one service and leaves the rows as they are. Returns the ids that were discarded. */
export function discardLetters(app: App, service: string, ids: readonly string[], alerts: Alerts): Promise<string[]> {
  return close(app, service, ids, 'discarded', alerts)
}

/** The letters that are meant with the beginning of their requests' bodies in base64. Throws as `chooseLetters`. */
export async function exportDeadLetters(app: App, { ids, service }: LetterChoice, settled: boolean) {
  if (service !== null) serviceOf(app.config, service)
  await installControl(app)
  const states = settled ? (['open', 'resolved', 'discarded'] as const) : (['open'] as const)
  const named = ids.length > 0
  const letters = named ? await readLetters(app.control, ids) : await listLetters(app.control, service, states, ALL)
  const strange = letters.find((letter) => service !== null && letter.service !== service)
  if (strange !== undefined) throw new MigrateError('DEAD_LETTER_UNKNOWN', { id: strange.id })
  return withBodies(app, letters)
}

const ALL = 2 ** 31

async function* withBodies(app: App, letters: readonly StoredLetter[]) {
  for (const letter of letters) {
    const body = await readBody(app.control, letter.id)
    yield { ...letter, body: body?.toString('base64') ?? null }
  }
}

async function makeEqual(
  app: App,
  service: string,
  { events, signal }: { readonly events: RetryEvents; readonly signal: AbortSignal },
): Promise<void> {
  let differing = 0
  for (let round = 1; round <= ROUNDS; round++) {
    const { side } = await readAuthority(app.monolith, service)
    if (side !== 'monolith') throw new MigrateError('RESYNC_REFUSED', { service })
    // every range in this very run: an earlier one may have looked before the leg wrote there
    const compare = { tables: [], strict: false, offline: false, afresh: true, budget: BUDGET, signal }
    const report = await reconcile(app, service, { ...compare, onRange: events.onRange })
    requireWhole(report)
    const keys = await driftedKeys(app.control, service)
    if (keys.length === 0) return
    differing = keys.length
    events.onResync(service, await resyncKeys(app, service, keys, signal))
  }
  throw new MigrateError('DRIFT_FOUND', { service, count: differing })
}

/** Throws RECONCILE_INCOMPLETE when a range was not looked at. */
function requireWhole({ service, tables }: ServiceReport): void {
  const sum = (state: 'open' | 'unsettled' | 'failed'): number =>
    tables.reduce((total, { ranges }) => total + ranges[state], 0)
  const [open, unsettled, failed] = [sum('open'), sum('unsettled'), sum('failed')]
  if (open + failed > 0) throw new MigrateError('RECONCILE_INCOMPLETE', { service, open, unsettled, failed })
}

async function close(
  app: App,
  service: string,
  ids: readonly string[],
  to: 'resolved' | 'discarded',
  alerts: Alerts,
): Promise<string[]> {
  const closed = await closeLetters(app.control, ids, to, holderName())
  if ((await countOpen(app.control, service)) === 0) alerts.resolve('leg-exhausted', service)
  return closed
}
