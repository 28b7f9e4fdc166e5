import { spawn, spawnSync } from 'node:child_process'
import { createLines } from '../../fixtures/servers/lines.ts'
import { CLI, exitCode } from './cli.ts'

/** `script` of util-linux brings a real pseudo-terminal. */
export const HAS_TERMINAL = spawnSync('script', ['--version']).stdout?.toString().includes('util-linux') === true

export interface OnTerminal extends AsyncDisposable {
  /** what arrived on the terminal, byte by byte */
  raw(): string
  /** waits until it has shown this; null when it has ended without */
  shows(pattern: RegExp): Promise<RegExpExecArray | null>
  /** as from the keyboard: `\x03` is ^C */
  type(keys: string): void
  readonly exited: Promise<number | null>
}

/** Runs a command of migrate on a terminal of this size; `env` is its whole environment. */
export function onTerminal(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  { columns = 100, rows = 30, node = [] as readonly string[] } = {},
): OnTerminal {
  const line = [process.execPath, ...node, CLI, ...args].map((word) => `'${word}'`).join(' ')
  const child = spawn('script', ['-qefc', `stty cols ${columns} rows ${rows}; exec ${line}`, '/dev/null'], {
    env: { TERM: 'xterm-256color', SHELL: '/bin/sh', PATH: process.env['PATH'], ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let all = ''
  const frames = createLines()
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    all += text
    frames.add(`${JSON.stringify(all.slice(-20_000))}\n`)
  })
  const exited = exitCode(child).finally(() => frames.end())
  return {
    raw: () => all,
    async shows(pattern) {
      const inside = new RegExp(pattern.source.replaceAll('"', '\\\\"'))
      return await frames.find(inside, AbortSignal.timeout(30_000))
    },
    type: (keys) => void child.stdin.write(keys),
    exited,
    async [Symbol.asyncDispose]() {
      // the terminal is gone, and with SIGHUP whoever ran on it
      child.kill('SIGKILL')
      await exited
    },
  }
}

const SHOW = '\u001b[?25h'
const HIDE = '\u001b[?25l'

/** The cursor can be seen, and the screen is the one that was there before. */
export function isRestored(raw: string): boolean {
  return raw.lastIndexOf(SHOW) >= raw.lastIndexOf(HIDE) && !raw.includes('\u001b[?1049h') && !raw.includes('\u001b[3J')
}

/** The colours in it, not the movements of the cursor. */
export function colours(raw: string): string[] {
  return raw.match(/\u001b\[(3[0-7]|9[0-7]|4[0-7]|[1-9])m/g) ?? []
}
