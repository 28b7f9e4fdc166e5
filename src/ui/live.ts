import { createElement, Fragment, type ReactElement } from 'react'
import { Box, type Instance, render, Static, Text } from 'ink'

/** What a view may use of the terminal. */
export interface Size {
  readonly columns: number
  readonly rows: number
}

/** A snapshot as lines, which may carry colours. Pure: called again for every frame. */
export type View = (size: Size) => readonly string[]

/** The last lines of a terminal, drawn again and again while a command works. Everything else goes above them. */
export interface Live {
  show(view: View): void
  /** a line that stays */
  line(text: string): void
  /** Leaves the last frame on the screen, or nothing; the cursor is back. Works in the last moment of a process too. */
  close(leave?: 'frame' | 'nothing'): void
}

/** Times in a view go on between two events. */
const FRAME_EVERY = 250

/** Draws on a terminal, which stays in its normal mode: nothing is read from it, and ^C is a signal as ever. */
export function openLive(terminal: NodeJS.WriteStream): Live {
  let view: View = () => []
  let closed = false
  const said: string[] = []
  const draw = (): void => instance.rerender(frame(said, view, terminal))
  const instance: Instance = render(frame(said, view, terminal), {
    stdout: terminal,
    stderr: terminal,
    // decided by the caller: a terminal, not in CI
    ...{ interactive: true, exitOnCtrlC: false, patchConsole: false, maxFps: 10 },
  })
  const timer = setInterval(draw, FRAME_EVERY)
  timer.unref()
  return {
    show(next) {
      view = next
      if (!closed) draw()
    },
    line(text) {
      if (closed) terminal.write(`${text}\n`)
      else said.push(...text.replace(/\n$/, '').split('\n'))
      if (!closed) draw()
    },
    close(leave = 'frame') {
      if (closed) return
      closed = true
      clearInterval(timer)
      if (leave === 'nothing') view = () => []
      draw()
      instance.unmount()
    },
  }
}

function frame(said: readonly string[], view: View, terminal: NodeJS.WriteStream): ReactElement {
  // a terminal that does not know its size says 0
  const [columns, rows] = [terminal.columns || 80, terminal.rows || 24]
  const lines = view({ columns, rows })
  // a frame as high as the window makes terminals scroll
  const room = Math.max(1, rows - 2)
  const shown = lines.length <= room ? lines : [...lines.slice(0, room - 1), `… ${lines.length - room + 1} more lines`]
  return createElement(
    Fragment,
    null,
    createElement(Static<string>, {
      items: [...said],
      children: (text, key) => createElement(Text, { key, wrap: 'wrap' }, text === '' ? ' ' : text),
    }),
    createElement(
      Box,
      { flexDirection: 'column' },
      shown.map((text, key) => createElement(Text, { key, wrap: 'truncate-end' }, text === '' ? ' ' : text)),
    ),
  )
}
