import { stripVTControlCharacters } from 'node:util'
import picocolors from 'picocolors'

export type Colors = ReturnType<typeof picocolors.createColors>

export function createColors(enabled: boolean): Colors {
  return picocolors.createColors(enabled)
}

export type Mark = 'ok' | 'failed' | 'waiting'

/** A symbol paired with a word, because a symbol or a colour alone is not read by everybody. */
export function mark(kind: Mark, word: string, ansi: Colors): string {
  const [symbol, paint] = { ok: ['✔', ansi.green], failed: ['✖', ansi.red], waiting: ['◌', ansi.yellow] }[kind] as [
    string,
    (text: string) => string,
  ]
  return `${paint(symbol)} ${word}`
}

export interface Column {
  readonly title: string
  readonly align?: 'left' | 'right'
}

/** Columns as wide as their widest cell, two spaces apart; cells may carry colours. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], ansi: Colors): string {
  const titles = columns.map((column) => column.title)
  const widths = columns.map((_, at) => Math.max(...[titles, ...rows].map((row) => width(row[at] ?? ''))))
  const line = (cells: readonly string[], paint = (text: string) => text) =>
    columns
      .map(({ align }, at) => paint(pad(cells[at] ?? '', widths[at] ?? 0, align)))
      .join('  ')
      .trimEnd()
  return [line(titles, ansi.dim), ...rows.map((row) => line(row))].join('\n')
}

/** `key  value` lines with the values in one column. */
export function keyValues(pairs: readonly (readonly [string, string])[], ansi: Colors): string {
  const wide = Math.max(0, ...pairs.map(([key]) => width(key)))
  return pairs.map(([key, value]) => `${ansi.dim(pad(key, wide))}  ${value}`).join('\n')
}

/** The commands to run next, or nothing. Starts with an empty line, ends with a newline. */
export function nextBlock(steps: readonly { readonly cmd: string; readonly why: string }[], ansi: Colors): string {
  if (steps.length === 0) return ''
  const wide = Math.max(...steps.map(({ cmd }) => width(cmd)))
  const long = steps.some(({ why }) => wide + width(why) > LINE)
  const lines = steps.map(({ cmd, why }) =>
    long ? `  ${ansi.cyan(cmd)}\n      ${ansi.dim(why)}` : `  ${ansi.cyan(pad(cmd, wide))}  ${ansi.dim(why)}`,
  )
  return `\nNext:\n${lines.join('\n')}\n`
}

/** Longer ones would be broken anywhere by most terminals. */
const LINE = 116

/** An error: what happened, and what to do. */
export function failureText(failure: { code: string; message: string; hint: string }, ansi: Colors): string {
  const { code, message, hint } = failure
  return `${ansi.red('✖')} ${ansi.bold(code)}  ${indented(message)}\n  Do: ${indented(hint)}`
}

/** What a terminal would obey instead of show (escape sequences, other control characters) taken out. */
export function plain(text: string): string {
  return stripVTControlCharacters(text).replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g,
    '',
  )
}

function indented(text: string): string {
  return plain(text).replaceAll('\n', '\n  ')
}

function pad(text: string, wide: number, align: 'left' | 'right' = 'left'): string {
  const space = ' '.repeat(Math.max(0, wide - width(text)))
  return align === 'left' ? text + space : space + text
}

function width(text: string): number {
  return [...stripVTControlCharacters(text)].length
}
