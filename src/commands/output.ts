import { EXIT, type ExitCode } from '../errors.ts'
import { type Colors, createColors, nextBlock } from '../ui/text.ts'

/** What a command says: results on stdout, everything else on stderr. With `json`, stdout carries NDJSON only. */
export function createOutput(streams: OutputStreams, { json, color, live = false }: OutputStyle): Output {
  const { stdout, stderr } = streams
  let code: ExitCode = EXIT.ok
  let area: LiveArea | null = null
  let given = ''

  return {
    json,
    colors: createColors(color && stderr.isTTY === true),
    terminal: live && !json && stderr.isTTY === true ? stderr : null,
    proposeWith(options) {
      given = options
    },
    attach(live) {
      area = live
    },
    detach,
    result(result, renderText) {
      const { schema, status, data, issues = [], nextSteps = [] } = result
      // both streams may be the same terminal
      detach()
      code = STATUS_EXIT[status]
      if (json) return emit({ schema, ok: status === 'ok', status, data, issues, nextSteps })
      const ansi = createColors(color && stdout.isTTY === true)
      stdout.write(withNewline(renderText(ansi)) + nextBlock(nextSteps.map(asGiven), ansi))
    },
    print(event, line) {
      if (json) emit(event)
      else stdout.write(withNewline(line))
    },
    progress(event, line) {
      if (json) emit(event)
      else say(line)
    },
    note: say,
    exit(exitCode) {
      code = exitCode
    },
    get code() {
      return code
    },
  }

  /** What is proposed to a human works as it is copied. */
  function asGiven({ cmd, why }: NextStep): NextStep {
    return { cmd: /^migrate (?!.* (-c|--env-file) )/.test(cmd) ? `${cmd}${given}` : cmd, why }
  }

  function say(line: string): void {
    if (area === null) stderr.write(withNewline(line))
    else if (line !== '') area.line(line)
  }

  function detach(): void {
    area?.close()
    area = null
  }

  function emit(value: object): void {
    stdout.write(`${JSON.stringify(value, bigintAsText)}\n`)
  }
}

/** The envelope every answer has with --json; see docs/reference/commands.md. */
export interface Result<Data = unknown> {
  /** `migrate.NAME/VERSION`; the version grows with a change that breaks readers */
  readonly schema: `migrate.${string}/${number}`
  readonly status: ResultStatus
  readonly data: Data
  readonly issues?: readonly Issue[]
  readonly nextSteps?: readonly NextStep[]
}

export type ResultStatus = 'ok' | 'findings' | 'action_required' | 'error'

export interface Issue {
  readonly code: string
  readonly severity: 'error' | 'warning' | 'info'
  readonly message: string
  readonly hint: string
  readonly at?: { readonly file: string; readonly line: number; readonly col: number }
}

export interface NextStep {
  readonly cmd: string
  readonly why: string
}

interface Event {
  readonly event: string
  readonly [field: string]: unknown
}

export interface Output {
  readonly json: boolean
  /** the colours of stderr, for lines given to `progress` and `note` */
  readonly colors: Colors
  /** stderr, when a command may draw on it; null = lines only: it is no terminal, or --json, TERM=dumb, CI */
  readonly terminal: Terminal | null
  /** options that the commands in a `Next:` block need too: ` -c shop.yaml` */
  proposeWith(options: string): void
  /** what is said from now on goes above this area, which closes before the result */
  attach(area: LiveArea): void
  detach(): void
  result(result: Result, renderText: (ansi: Colors) => string): void
  /** a part of the result, before its end: `line` on stdout, with --json the event */
  print(event: Event, line: string): void
  /** what happens on the way: `line` on stderr, nothing when it is empty; with --json the event on stdout */
  progress(event: Event, line: string): void
  /** a line for humans on stderr, also with --json */
  note(line: string): void
  /** overrides the exit code that the result's status implies */
  exit(code: ExitCode): void
  readonly code: ExitCode
}

/** The part of a live area that everything else has to know of. */
interface LiveArea {
  line(text: string): void
  close(): void
}

type Terminal = OutputStreams['stderr']

export interface OutputStreams {
  readonly stdout: TextStream
  readonly stderr: TextStream
}

export interface OutputStyle {
  readonly json: boolean
  /** colours are wanted; a stream that is no terminal gets none all the same */
  readonly color: boolean
  /** a live area is wanted, where stderr is a terminal */
  readonly live?: boolean
}

interface TextStream {
  readonly isTTY?: boolean
  write(text: string): unknown
}

const STATUS_EXIT: Record<ResultStatus, ExitCode> = {
  ok: EXIT.ok,
  findings: EXIT.findings,
  action_required: EXIT.gate,
  error: EXIT.failed,
}

function withNewline(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}
