import type { SyncEvents } from '../app/sync.ts'
import type { Paused } from '../control/sync-control.ts'
import type { Live } from '../ui/live.ts'
import { Rate } from '../ui/rate.ts'
import { type CopiedTable, type Followed, syncView } from '../ui/sync-view.ts'
import { number } from '../ui/measure.ts'
import { plain } from '../ui/text.ts'
import type { Output } from './output.ts'

/** Names of workers stand in a column. */
export const PART_WIDTH = 14
/** A long copy says a line, and a worker an event, so often, milliseconds. */
const SAY_EVERY = 10_000

/** What a worker does, as lines and events; `of` = one of several workers. */
export function syncLines(output: Output, of?: string): SyncEvents {
  const said = new Map<string, number>()
  /** what each direction tries again: said once to people, however often it is tried */
  const troubles = new Map<string, string>()
  const tell = (event: { event: string; [field: string]: unknown }, line: string): void => {
    if (of === undefined) output.progress(event, line)
    else output.progress({ ...event, service: of }, line && `${`sync ${of}`.padEnd(PART_WIDTH)}  ${line}`)
  }
  const isDue = (what: string): boolean => {
    const now = performance.now()
    const due = now - (said.get(what) ?? now) >= SAY_EVERY
    if (due || !said.has(what)) said.set(what, now)
    return due
  }
  return {
    copying({ table, rows, estimate, number: at, of: tables }) {
      if (!isDue(table)) return
      const share = estimate === 0 ? '' : ` of about ${number(estimate)}`
      const line = `copying ${plain(table)}: ${number(rows)}${share} rows (table ${at} of ${tables})`
      tell({ event: 'copying', table, rows, estimate, number: at, tables }, line)
    },
    copied: (table, rows) => tell({ event: 'copied', table, rows }, `copied ${plain(table)}: ${rows} rows`),
    // after trouble it is only known to follow when it has made progress
    following: (direction) =>
      tell({ event: 'following', direction }, troubles.has(direction) ? '' : `following ${direction}`),
    paused(paused) {
      const { by = null, since = null, reason = null } = paused ?? {}
      tell({ event: paused === null ? 'resumed' : 'paused', by, since, reason }, pauseText(paused))
    },
    progress({ direction, state, lagBytes, counters }) {
      if (troubles.delete(direction))
        tell({ event: 'following', direction, again: true }, `following ${direction} again`)
      if (isDue(direction)) tell({ event: 'progress', direction, state, lagBytes, rows: counters.rows }, '')
    },
    retrying(direction, { message }) {
      const line = troubles.get(direction) === message ? '' : `${direction}: ${plain(message)}; trying again`
      troubles.set(direction, message)
      tell({ event: 'retrying', direction, reason: message }, line)
    },
  }
}

function pauseText(paused: Paused | null): string {
  if (paused === null) return 'resumed'
  const { by, since, reason } = paused
  return `paused by ${plain(by)} since ${since}${reason === null ? '' : `: ${plain(reason)}`}; nothing is applied`
}

/** What a worker does, on a terminal. */
export function drawSync(live: Live, service: string, { colors }: Output): SyncEvents {
  const tables = new Map<string, { -readonly [K in keyof CopiedTable]: CopiedTable[K] }>()
  const followed = new Map<string, { -readonly [K in keyof Followed]: Followed[K] }>()
  const rates = new Map<string, Rate>()
  let left = 0
  const show = (): void =>
    live.show(() =>
      syncView({ service, tables: [...tables.values()], tablesLeft: left, directions: [...followed.values()] }, colors),
    )
  const rateOf = (what: string, count: number): Rate => {
    const rate = rates.get(what) ?? new Rate(performance.now(), count)
    rates.set(what, rate)
    rate.measure(performance.now(), count)
    return rate
  }
  const direction = (name: Followed['direction']) => {
    const known = followed.get(name)
    if (known !== undefined) return known
    const begun = { direction: name, state: 'starting', lagBytes: null, rows: 0, perSecond: null, trouble: null }
    followed.set(name, begun)
    return begun as { -readonly [K in keyof Followed]: Followed[K] }
  }
  show()
  return {
    copying({ table, rows, estimate, number: at, of }) {
      const rate = rateOf(table, rows)
      left = of - at
      const perSecond = rate.perSecond
      tables.set(table, { table, rows, estimate, perSecond, done: false, left: rate.secondsFor(estimate - rows) })
      show()
    },
    copied(table, rows) {
      tables.delete(table)
      // stays on the screen, also when the worker follows
      live.line(`${colors.green('✔')} copied ${plain(table)}: ${number(rows)} rows`)
      show()
    },
    following(name) {
      direction(name)
      show()
    },
    paused(paused) {
      live.line(`${paused === null ? colors.green('✔') : colors.yellow('◌')} ${pauseText(paused)}`)
    },
    progress({ direction: name, state, lagBytes, counters: { rows } }) {
      Object.assign(direction(name), {
        ...{ state, lagBytes, rows, trouble: null },
        perSecond: rateOf(name, rows).perSecond,
      })
      show()
    },
    retrying(name, error) {
      direction(name).trouble = error.message
      show()
    },
  }
}
