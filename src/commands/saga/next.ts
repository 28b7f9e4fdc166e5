import type { Verb } from '../../saga/entry.ts'
import { type Ahead, prospectsOf } from '../../saga/prospect.ts'
import type { SagaDetails } from '../../saga/read.ts'
import { stateOf } from '../../saga/state.ts'
import { plain } from '../../ui/text.ts'
import type { NextStep } from '../output.ts'

/** What somebody who looks at a saga may do, each with what comes of it: nothing that would be refused. */
export function nextStepsOf(saga: SagaDetails, service: string): NextStep[] {
  if (saga.stranded) {
    const why = `see which processes run sagas: one with ${saga.name}/${saga.version} has to be deployed`
    return [{ cmd: `migrate saga stats ${service}`, why: plain(why) }]
  }
  if (saga.waiting === 'lock') return [{ cmd: `migrate saga locks ${service}`, why: 'see who has what it waits for' }]
  const wanted: readonly Verb[] = saga.status === 'STUCK' ? STUCK : ['resume']
  const orders = prospectsOf(saga)
    .filter(({ verb }) => wanted.includes(verb))
    .map(({ verb, ahead }) => ({ cmd: commandOf(saga, service, verb, ahead), why: whyOf(saga, verb, ahead) }))
  return [...orders, ...participant(saga)]
}

const STUCK: readonly Verb[] = ['retry', 'skip', 'cancel', 'not-done']

/** `takes two back, then one`; `asks for pay, then thank` */
export function aheadText({ direction, steps: [first, ...rest] }: Ahead): string {
  const [doing, end] = direction === 'execute' ? ['asks for', 'it is DONE'] : ['takes back', 'it is COMPENSATED']
  return first === undefined ? end : `${doing} ${plain([first, ...rest].join(', then '))}`
}

function commandOf({ id, seq }: SagaDetails, service: string, verb: Verb, ahead: Ahead): string {
  const named = `${service} ${id.slice(0, 8)} --expect-seq ${seq}`
  switch (verb) {
    case 'retry':
    case 'resume':
      return `migrate saga ${verb} ${named}`
    case 'skip': {
      const result = ahead.direction === 'execute' && ahead.steps.length > 0 ? ` --result '…'` : ''
      return `migrate saga skip ${named} --reason '…'${result}`
    }
    case 'cancel':
      return `migrate saga cancel ${named} --reason '…'`
    case 'not-done':
      return `migrate saga cancel ${named} --reason '…' --not-done`
  }
}

function whyOf({ journal, dueAt }: SagaDetails, verb: Verb, ahead: Ahead): string {
  const { stuck } = stateOf(journal)
  const step = plain(stuck?.step ?? 'it')
  const then = aheadText(ahead)
  switch (verb) {
    case 'retry':
      return `when the cause is mended: ${then}`
    case 'resume':
      return `without waiting until ${dueAt ?? 'its next try'}: ${then}`
    case 'skip':
      return stuck?.direction === 'compensate'
        ? `when ${step} was taken back by hand: ${then}`
        : `when ${step} has happened, or was done by hand: ${then}`
    case 'cancel':
      return `give it up: ${then}`
    case 'not-done':
      return `when you have found out that ${step} has not happened: ${then}`
  }
}

/** A command that gets no reply may wait where it was sent. */
function participant({ status, journal, steps }: SagaDetails): NextStep[] {
  const { stuck } = stateOf(journal)
  if (status !== 'STUCK' || steps.find(({ name }) => name === stuck?.step)?.by !== 'command') return []
  const why = 'see whether the service that was asked keeps the message back, and for what error'
  return [{ cmd: 'migrate dlq list --kind consumer', why }]
}
