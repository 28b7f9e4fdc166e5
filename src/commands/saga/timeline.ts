import type { Entry } from '../../saga/entry.ts'
import type { SagaDetails } from '../../saga/read.ts'
import { reasonOf } from '../../ui/saga-view.ts'
import { type Colors, plain } from '../../ui/text.ts'

/** One line of the story of a saga. */
export interface TimelineLine {
  /** ISO 8601 */
  readonly at: string
  readonly seq: number
  readonly step: string | null
  readonly what: string
  readonly tone: 'good' | 'bad' | 'plain'
}

export function timelineOf({ journal }: Pick<SagaDetails, 'journal'>): TimelineLine[] {
  const tries = new Map<string, number>()
  return journal.flatMap(({ seq, at, entries }) =>
    entries.map((entry) => ({ at: new Date(at).toISOString(), seq, ...tell(entry, tries) })),
  )
}

export function timelineLine({ at, seq, step, what, tone }: TimelineLine, ansi: Colors): string {
  const paint = { good: ansi.green, bad: ansi.red, plain: (text: string) => text }[tone]
  const where = step === null ? '' : `${plain(step)}  `
  return `${ansi.dim(at)}  ${ansi.dim(`#${String(seq).padEnd(3)}`)} ${where}${paint(plain(what).replace(/\s+/g, ' '))}`
}

type Told = Pick<TimelineLine, 'step' | 'what' | 'tone'>

function tell(entry: Entry, tries: Map<string, number>): Told {
  switch (entry.do) {
    case 'intent': {
      const key = `${entry.direction} ${entry.step}`
      const attempt = (tries.get(key) ?? 0) + 1
      tries.set(key, attempt)
      const asked = entry.direction === 'execute' ? 'is asked for' : 'is to be taken back'
      return { step: entry.step, what: attempt === 1 ? asked : `${asked}, try ${attempt}`, tone: 'plain' }
    }
    case 'done': {
      const how = entry.via === undefined ? '' : `, as ${WITNESS[entry.via]} says`
      const what = entry.direction === 'execute' ? `done${how}` : `taken back${how}`
      return { step: entry.step, what, tone: 'good' }
    }
    case 'refused':
      return { step: entry.step, what: reasonOf({ ...entry.error, code: 'STEP_REFUSED' }), tone: 'bad' }
    case 'unknown':
      return {
        step: entry.step,
        what: `no answer: ${reasonOf(entry.error)}; ${again(entry.retryIn)}`,
        tone: 'bad',
      }
    case 'failed':
      return {
        step: entry.step,
        what: `failed: ${reasonOf(entry.error)}; ${again(entry.retryIn)}`,
        tone: 'bad',
      }
    case 'compensate':
      return {
        step: entry.failure.step,
        what: `goes back: ${reasonOf(entry.failure)}`,
        tone: 'bad',
      }
    case 'stuck':
      return { step: entry.failure.step, what: `STUCK: ${reasonOf(entry.failure)}`, tone: 'bad' }
    case 'operator': {
      const reason = entry.reason === null ? '' : `: ${entry.reason}`
      return { step: entry.step, what: `${entry.verb} by ${entry.by}${reason}`, tone: 'plain' }
    }
    case 'ended':
      return { step: null, what: entry.status, tone: entry.status === 'DONE' ? 'good' : 'bad' }
  }
}

const WITNESS = { probe: 'the participant', reply: 'its reply' } as const

function again(milliseconds: number | null): string {
  return milliseconds === null ? 'no more tries' : `again in ${milliseconds} ms`
}
