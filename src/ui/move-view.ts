import { type Colors, mark, plain } from './text.ts'

/** What a cutover or rollback does now. */
export interface MoveSnapshot {
  readonly kind: string
  readonly service: string
  /** null until they were looked at */
  readonly gates: readonly MoveGate[] | null
  readonly steps: readonly MoveStep[]
}

export interface MoveGate {
  readonly name: string
  readonly ok: boolean
  readonly measured: string
  readonly comparator: string
  readonly threshold: string
}

export interface MoveStep {
  readonly name: string
  readonly text: string
  readonly stopsWrites: boolean
  readonly state: 'waiting' | 'running' | 'done' | 'failed'
  /** so far, or in all */
  readonly milliseconds: number
}

/** The gates that are closed, or how many are open; then every step with its time. */
export function moveView({ kind, service, gates, steps }: MoveSnapshot, ansi: Colors): string[] {
  const closed = gates?.filter(({ ok }) => !ok) ?? []
  const looked =
    gates === null
      ? [mark('waiting', `${kind} of ${service}: looking at the gates`, ansi)]
      : closed.length === 0
        ? [mark('ok', `${gates.length} gates met`, ansi)]
        : closed.map(({ name, measured, comparator, threshold }) =>
            mark('failed', plain(`${name}: ${measured}, needed ${comparator} ${threshold}`), ansi),
          )
  return [...looked, ...steps.map((step) => stepLine(step, ansi))]
}

function stepLine({ name, text, stopsWrites, state, milliseconds }: MoveStep, ansi: Colors): string {
  const word = name.padEnd(15)
  if (state === 'waiting') return ansi.dim(`· ${word}            ${text}`)
  const kind = state === 'done' ? 'ok' : state === 'failed' ? 'failed' : 'waiting'
  const stopped = stopsWrites && state === 'running' ? ansi.yellow('  writes are stopped') : ''
  return `${mark(kind, word, ansi)} ${String(Math.round(milliseconds)).padStart(6)} ms  ${ansi.dim(plain(text))}${stopped}`
}
