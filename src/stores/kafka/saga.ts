import { Doorbell } from '../../bell.ts'
import type { ConsumerOptions, Message } from '../../consumer/options.ts'
import type { EventDefinitions } from '../../events/define.ts'
import type { TransactionClient } from '../../model/service-database.ts'
import { pause } from '../../model/pause.ts'
import { enqueue } from '../../outbox/enqueue.ts'
import { OUTBOX_CHANNEL } from '../../outbox/relay.ts'
import { type Asked, forgetAnswers, participant } from '../../saga/participant.ts'
import { REPLIES } from '../../saga/reply.ts'
import type { Sagas } from '../../saga/sagas.ts'
import { type Consume, consume } from './messaging.ts'

type Settings = Consume &
  Pick<
    ConsumerOptions<EventDefinitions>,
    | 'name'
    | 'signal'
    | 'classify'
    | 'concurrency'
    | 'batch'
    | 'stallTimeout'
    | 'onTrouble'
    | 'onDeadLetter'
    | 'failpoint'
  > & { readonly topic: string }

/** A command as its handler gets it. */
export interface CommandMessage<Data> extends Asked {
  readonly data: Data
  /** what the execute has returned, when this takes it back; null when it returned nothing */
  readonly executed: unknown
  readonly headers: Readonly<Record<string, string>>
}

/** One handler for each type of command; what it returns is the result of the step. */
export type CommandHandlers<Definitions extends EventDefinitions> = {
  readonly [Type in keyof Definitions & string]: (
    tx: TransactionClient,
    command: CommandMessage<DataOf<Definitions[Type]>>,
  ) => Promise<unknown>
}

type DataOf<Definition> = Definition extends { readonly data?: infer Data } ? Data : never

export type CommandsOptions<Definitions extends EventDefinitions> = Settings & {
  /** payloads of the commands, by type */
  readonly commands: Definitions
  readonly handlers: CommandHandlers<Definitions>
  /** days for which answers are remembered; default 90 */
  readonly answerDays?: number
}

/**
 * Makes this service a participant of sagas: does what commands of a topic ask for, each at most once, and puts the reply
 * into its outbox in the same transaction (run `relayOutbox`). See `participant` for repetitions, late executes and
 * refusals (`StepRefused`). A handler that fails otherwise is tried again as `consume` does it. Resolves when the signal
 * aborts.
 */
export async function serveCommands<Definitions extends EventDefinitions>(
  options: CommandsOptions<Definitions>,
): Promise<void> {
  const { topic, commands, handlers, answerDays = 90, ...rest } = options
  const relay = new Doorbell(rest.pool, OUTBOX_CHANNEL)
  const serve = async (tx: TransactionClient, { type, data, headers }: Message): Promise<void> => {
    const key = headers['idempotency-key'] ?? ''
    const handler = handlers[type as keyof Definitions & string]
    const answer = await participant(tx, { key }, (asked, executed) => {
      return handler(tx, { ...asked, data: data as never, executed, headers })
    })
    await reply(tx, key, answer, headers)
    relay.ringAfter()
  }
  const served = Object.fromEntries(Object.keys(commands).map((type) => [type, serve]))
  const stop = new AbortController()
  const forgetting = forget({ ...rest, answerDays }, AbortSignal.any([rest.signal, stop.signal]))
  try {
    await consume({
      ...{ ...rest, topics: [topic], events: commands, handlers: served as never },
      // what takes a command back must not wait behind it: after that the command is refused, whenever it comes
      afterDeadLetter: 'skip',
    })
  } finally {
    stop.abort()
    await forgetting
  }
}

const HOUR = 3_600_000

/** All that is old, at the start and then each hour. */
async function forget(
  { pool, answerDays, onTrouble }: Pick<Settings, 'pool' | 'onTrouble'> & { readonly answerDays: number },
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      while (!signal.aborted && (await forgetAnswers(pool, answerDays)) > 0);
    } catch (error) {
      onTrouble?.(error as Error)
    }
    await pause(HOUR, signal).catch(() => undefined)
  }
}

async function reply(
  tx: TransactionClient,
  key: string,
  answer: unknown,
  headers: Readonly<Record<string, string>>,
): Promise<void> {
  const { 'saga-reply-to': topic, traceparent } = headers
  if (topic === undefined || topic === '') return
  const saga = key.slice(0, key.indexOf('/'))
  await enqueue(tx, [
    {
      ...{ aggregateType: 'saga', aggregateId: saga, type: 'SagaReply', topic, payload: { key, answer } },
      ...(traceparent !== undefined && { headers: { traceparent } }),
    },
  ])
}

/** Takes the replies to commands of these sagas from their topic. Resolves when the signal aborts. */
export function consumeReplies({ sagas, topic, ...rest }: Settings & { readonly sagas: Sagas }): Promise<void> {
  return consume({
    ...rest,
    topics: [topic],
    events: REPLIES,
    handleBatch: (tx, messages) =>
      sagas.receive(
        tx,
        messages.map(({ data }) => data),
      ),
  })
}
