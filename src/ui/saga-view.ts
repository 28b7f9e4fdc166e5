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
  readonly deadline: string | null
  readonly seconds: number
  readonly failure: { readonly step: string | null; readonly code: string; readonly message: string } | null
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

function facts(saga: SagaSnapshot, ansi: Colors): [string, string][] {
  const { id, name, version, status, stranded, failure, host, waiting, dueAt, deadline, locks } = saga
  const paint = status === 'STUCK' || stranded ? ansi.red : status === 'DONE' ? ansi.green : ansi.yellow
  const shown = stranded ? `${status}, STRANDED: no living process has version ${version}` : status
  const optional: [string, string | null][] = [
    [
      'why',
      failure === null
        ? null
        : plain(`${failure.step === null ? '' : `${failure.step}: `}${failure.code} ${failure.message}`),
    ],
    ['waits for', waiting === null ? null : `${waiting}${dueAt === null ? '' : `, until ${dueAt}`}`],
    ['worked on by', host === null ? null : plain(host)],
    ['deadline', deadline],
    [
      'locks',
      locks.length === 0
        ? null
        : locks
            .map(({ target, before }) => `${plain(target)} (${before === 0 ? 'held' : `${before} before it`})`)
            .join(', '),
    ],
  ]
  return [
    ['saga', id],
    ['definition', `${plain(name)}/${version}`],
    ['status', paint(shown)],
    ['since', `${saga.startedAt}, ${saga.seconds.toFixed(1)} s`],
    ['entry', String(saga.seq)],
    ...optional.flatMap(([key, value]): [string, string][] => (value === null ? [] : [[key, value]])),
  ]
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
