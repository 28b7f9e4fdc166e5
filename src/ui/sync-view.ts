import { bytes, duration, number } from './measure.ts'
import { type Colors, mark, plain } from './text.ts'

/** What a sync worker does now. */
export interface SyncSnapshot {
  readonly service: string
  readonly tables: readonly CopiedTable[]
  /** so many tables come after those that are named */
  readonly tablesLeft: number
  readonly directions: readonly Followed[]
}

export interface CopiedTable {
  readonly table: string
  readonly rows: number
  readonly done: boolean
  /** by statistics; 0 = not known */
  readonly estimate: number
  readonly perSecond: number | null
  /** seconds that the rest will take; null = cannot be said */
  readonly left: number | null
}

export interface Followed {
  readonly direction: 'forward' | 'reverse'
  readonly state: string
  readonly lagBytes: number | null
  readonly rows: number
  readonly perSecond: number | null
  /** what it tries again; null = it goes on */
  readonly trouble: string | null
}

/** Tables while they are copied, then a line for each direction. */
export function syncView({ service, tables, tablesLeft, directions }: SyncSnapshot, ansi: Colors): string[] {
  if (directions.length > 0) return directions.map((followed) => followedLine(service, followed, ansi))
  const wide = Math.max(0, ...tables.map(({ table }) => plain(table).length))
  return [
    ...(tables.length === 0 ? [mark('waiting', `${service}: checking both sides`, ansi)] : []),
    ...tables.map((table) => tableLine(table, wide, ansi)),
    ...(tablesLeft > 0 ? [ansi.dim(`  ${tablesLeft} more table(s)`)] : []),
  ]
}

function tableLine({ table, rows, done, estimate, perSecond, left }: CopiedTable, wide: number, ansi: Colors): string {
  const name = plain(table).padEnd(wide)
  if (done) return mark('ok', `${name}  ${number(rows)} rows`, ansi)
  // statistics lag behind: never promise the end before it is there
  const share = estimate === 0 ? '' : `${bar(Math.min(0.99, rows / estimate), ansi)} of about ${number(estimate)}  `
  const speed = perSecond === null ? '' : `${number(perSecond)} rows/s`
  const rest = left === null ? '' : `, about ${duration(left)} left`
  return mark('waiting', `${name}  ${number(rows)} ${share}${speed}${rest}`, ansi)
}

function bar(share: number, ansi: Colors): string {
  const full = Math.round(share * BAR)
  return `${ansi.cyan('█'.repeat(full))}${ansi.dim('░'.repeat(BAR - full))} ${Math.floor(share * 100)} %`
}

const BAR = 20

function followedLine(service: string, followed: Followed, ansi: Colors): string {
  const { direction, state, lagBytes, rows, perSecond, trouble } = followed
  const name = `${service} ${direction}`
  if (trouble !== null) return mark('failed', `${name}  ${plain(trouble)}; trying again`, ansi)
  const lag = lagBytes === null ? 'lag not known yet' : `lag ${bytes(lagBytes)}`
  const speed = perSecond === null || perSecond < 0.5 ? '' : `, ${number(perSecond)} rows/s`
  return mark('ok', `${name}  ${state}, ${lag}, ${number(rows)} row changes${speed}`, ansi)
}
