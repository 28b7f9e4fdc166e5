import { randomUUID } from 'node:crypto'
import { type Context, storable } from './call.ts'
import type { Command, Step } from './definition.ts'
import type { Direction } from './entry.ts'
import type { SentCommand } from './journal.ts'
import type { SagaRecord } from './record.ts'
import { type SagaState, stepOf } from './state.ts'

/** What a step is told when it is asked for now, or was a moment ago. */
export function contextOf(record: SagaRecord, step: Step, direction: Direction, signal: AbortSignal): Context {
  const { saga, state } = record
  const progress = stepOf(state, step.name)
  // before its intent is noted the next try is meant
  const attempt = progress[direction].attempts + (progress[direction].state === 'intent' ? 0 : 1)
  return {
    ...{ sagaId: saga.id, step: step.name, direction, input: saga.input, results: resultsOf(state) },
    ...{ idempotencyKey: `${saga.id}/${step.name}/${direction}`, attempt, signal, traceparent: saga.traceparent },
    doubtful: progress[direction].doubtful,
    result: direction === 'compensate' ? progress.execute.result : undefined,
    failure: state.failure ?? { step: null, code: 'UNKNOWN', message: '' },
  }
}

/** What the steps that are done have returned, by name. */
export function resultsOf({ steps }: SagaState): Record<string, unknown> {
  return Object.fromEntries(
    [...steps]
      .filter(([, { execute }]) => execute.state === 'done')
      .map(([name, { execute }]) => [name, execute.result]),
  )
}

/** The message of a step. Throws what the definition throws. */
export function commandOf(record: SagaRecord, step: Step, direction: Direction, signal: AbortSignal): SentCommand {
  const context = contextOf(record, step, direction, signal)
  const action = step.action as Extract<Step['action'], { by: 'command' }>
  const command = direction === 'execute' ? action.execute(context) : (action.compensate?.(context) as Command)
  const { topic, type, payload, key = context.sagaId } = command
  storable([topic, type, key], MESSAGE)
  return {
    // each try has an id of its own: an inbox would pass over one that it knows, and nobody would reply
    ...{
      id: randomUUID(),
      aggregateType: 'saga',
      aggregateId: key,
      topic,
      type,
      payload: storable(payload, MESSAGE) ?? null,
    },
    headers: {
      'idempotency-key': context.idempotencyKey,
      'saga-reply-to': record.definition.replyTo ?? '',
      ...(context.traceparent !== null && { traceparent: context.traceparent }),
    },
  }
}

const MESSAGE = 'the message of the step'
