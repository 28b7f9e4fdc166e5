import { duration } from './measure.ts'
import { type Colors, keyValues, mark, plain } from './text.ts'

/** One saga as it is drawn: what it is, and each step with how far it is. */
export interface SagaSnapshot {
  readonly id: string
  readonly name: string
  readonly version: number
  readonly status: string
  readonly stranded: boolean
  readonly waiting: string | null
  readonly dueAt: string | null
  readonly host: string | null
  readonly seq: number
  readonly startedAt: string
  readonly endedAt: string | null
  readonly deadline: string | null
  readonly seconds: number
  readonly failure: SeenFailure | null
  readonly locks: readonly { readonly target: string; readonly before: number }[]
  readonly steps: readonly {
    readonly name: string
    readonly kind: string
    readonly by: string
    readonly group: number
  }[]
  readonly journal: readonly { readonly entries: readonly SeenEntry[] }[]
}

interface SeenEntry {
  readonly do: string
  readonly step?: string | null
  readonly direction?: string
  readonly failure?: SeenFailure
}

interface SeenFailure {
  readonly step: string | null
  readonly code: string
  readonly message: string
}

/** The facts, then the steps in their order; those of one group are marked. */
export function sagaView(saga: SagaSnapshot, ansi: Colors): string[] {
  const { steps } = saga
  const wide = Math.max(0, ...steps.map(({ name }) => name.length))
  const lines = steps.map((step) => {
    const parallel = steps.filter(({ group }) => group === step.group).length > 1
    const [state, text] = progressOf(saga, step.name)
    const kind = `${step.kind}, ${step.by}${parallel ? ', parallel' : ''}`
    const shown = `${plain(step.name).padEnd(wide)}  ${text.padEnd(16)}  ${ansi.dim(kind)}`
    return state === null
      ? ansi.dim(`· ${plain(step.name).padEnd(wide)}  ${''.padEnd(16)}  ${kind}`)
      : mark(state, shown, ansi)
  })
  return [...keyValues(facts(saga, ansi), ansi).split('\n'), '', ...lines]
}

/** An error as one reads it: the code, unless the message says as much. */
export function reasonOf({ code, message }: { readonly code: string; readonly message: string }): string {
  if (code === 'STEP_REFUSED') return message.startsWith('refused') ? message : `refused: ${message}`
  return message.includes(code) ? message : `${code} ${message}`
}

function facts(saga: SagaSnapshot, ansi: Colors): [string, string][] {
  const { id, name, version, status, stranded, host, waiting, dueAt, deadline, locks } = saga
  const paint = status === 'STUCK' || stranded ? ansi.red : status === 'DONE' ? ansi.green : ansi.yellow
  const shown = stranded ? `${status}, STRANDED: no living process has version ${version}` : status
  const held = locks.map(({ target, before }) => `${plain(target)} (${before === 0 ? 'held' : `${before} before it`})`)
  return [
    ['saga', id],
    ['definition', `${plain(name)}/${version}`],
    ['status', paint(shown)],
    ...troubles(saga),
    ['started', times(saga)],
    ['entry', String(saga.seq)],
    ...fact('waits for', waiting === null ? null : `${waiting}${dueAt === null ? '' : `, until ${dueAt}`}`),
    ...fact('worked on by', host),
    ...fact('deadline', deadline),
    ...fact('locks', held.length === 0 ? null : held.join(', ')),
  ]
}

function fact(key: string, value: string | null): [string, string][] {
  return value === null ? [] : [[key, plain(value).replace(/\s+/g, ' ')]]
}

function times({ startedAt, endedAt, seconds }: SagaSnapshot): string {
  const took = seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds)
  return endedAt === null ? `${startedAt}, ${took} ago` : `${startedAt}, took ${took}`
}

/** What it is stuck at, then why it does not go forward: a compensation fails for another reason than the saga. */
function troubles(saga: SagaSnapshot): [string, string][] {
  const { failure, status } = saga
  const entries = saga.journal.flatMap((row) => row.entries)
  const stuck = status === 'STUCK' ? entries.findLast((entry) => entry.do === 'stuck') : undefined
  const back = stuck === undefined || stuck.direction === 'compensate'
  const at = failure?.step ? `${failure.step}: ` : ''
  return [
    ...(stuck === undefined ? [] : [...fact('stuck at', stuckAt(saga, stuck)), ...fact('because', because(stuck))]),
    ...fact(stuck === undefined ? 'why' : 'goes back', failure === null || !back ? null : `${at}${reasonOf(failure)}`),
  ]
}

function because({ failure }: SeenEntry): string | null {
  return failure === undefined ? null : reasonOf(failure)
}

function stuckAt({ steps, journal }: SagaSnapshot, { failure, direction }: SeenEntry): string {
  const step = failure?.step ?? null
  if (step === null) return 'no step'
  const entries = journal.flatMap((row) => row.entries)
  const since = entries.findLastIndex((entry) => entry.do === 'operator')
  const tries = entries
    .slice(since + 1)
    .filter((entry) => entry.step === step && ['unknown', 'failed'].includes(entry.do) && entry.direction === direction)
  const kind = steps.find(({ name }) => name === step)?.kind
  const tried = tries.length === 0 ? '' : `; tried ${tries.length} time${tries.length === 1 ? '' : 's'}`
  if (direction === 'compensate') return `taking ${step} back${tried}`
  if (kind === 'pivot') return `${step}, the pivot: nobody knows whether it has happened${tried}`
  return kind === 'retriable' ? `${step}, which is behind the pivot and has to happen${tried}` : `${step}${tried}`
}

/** What the last entry of a step says. */
function progressOf({ journal }: SagaSnapshot, step: string): ['ok' | 'failed' | 'waiting' | null, string] {
  const last = journal.flatMap(({ entries }) => entries).findLast((entry) => entry.step === step && entry.do in WORDS)
  if (last === undefined) return [null, '']
  const [state, forwards, backwards] = WORDS[last.do] as (typeof WORDS)[string]
  return [state, last.direction === 'compensate' ? backwards : forwards]
}

const WORDS: Readonly<Record<string, readonly ['ok' | 'failed' | 'waiting', string, string]>> = {
  intent: ['waiting', 'asked for', 'being taken back'],
  done: ['ok', 'done', 'taken back'],
  refused: ['failed', 'refused', 'refused'],
  unknown: ['failed', 'no answer', 'no answer (back)'],
  failed: ['failed', 'failed', 'failed (back)'],
}
