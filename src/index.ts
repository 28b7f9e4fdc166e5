export { type Answer, idempotent, type LegRequest } from './dualwrite/idempotent.ts'
export { MigrateError } from './errors.ts'
export { failpoints } from './config/failpoint.ts'
export { installEventing } from './control/eventing.ts'
export type { ConnectionPool, PooledClient, TransactionClient } from './model/service-database.ts'
export { inTransaction } from './transaction.ts'
export { Aggregate } from './events/aggregate.ts'
export type { Appended, ExpectedVersion } from './events/append.ts'
export { type Decider, type Handled, handleCommand } from './events/decider.ts'
export {
  type AnyEvent,
  comparePositions,
  event,
  type EventDefinition,
  type EventDefinitions,
  type EventOf,
  type EventPosition,
  type NewEvent,
  START,
  type StandardSchema,
  type StoredEvent,
} from './events/define.ts'
export { type Horizon, type HorizonBlocker, readHorizon } from './events/horizon.ts'
export { type Projection, type ProjectionOptions, runProjection } from './events/projection.ts'
export type { ReadOptions } from './events/read.ts'
export type { Snapshot } from './events/snapshot.ts'
export { type AppendOptions, EventStore, type EventStoreOptions } from './events/store.ts'
export { subscribe, type SubscriptionOptions } from './events/subscribe.ts'
export { type EventDefect, type Verification, verifyEvents } from './events/verify.ts'
export { type OutboxMessage, enqueue } from './outbox/enqueue.ts'
export { type OutboxState, readOutbox, type RelayOptions } from './outbox/relay.ts'
export { classify, type Verdict } from './consumer/classify.ts'
export type { ConsumerOptions, Handlers, Message, MessageOf } from './consumer/options.ts'
export type { KafkaOptions } from './stores/kafka/client.ts'
export { type Consume, consume, type Relay, relayOutbox } from './stores/kafka/messaging.ts'
export { type SagaBuilder, type SagaOptions, type Stored, defineSaga } from './saga/define.ts'
export type {
  Command,
  CompensationContext,
  Probe,
  RetryPolicy,
  SagaDefinition,
  StepContext,
  StepKind,
} from './saga/definition.ts'
export type { Failure } from './saga/entry.ts'
export type { Outcome } from './saga/outcome.ts'
export { StepRefused } from './saga/refusal.ts'
export { type SagasOptions, Sagas, type StartedSaga, type StartInOptions, type StartOptions } from './saga/sagas.ts'
export { type Asked, forgetAnswers, participant, type ParticipantAnswer } from './saga/participant.ts'
export { answerHttp, callHttp, type HttpCall } from './saga/http.ts'
export { REPLIES, type SagaReply } from './saga/reply.ts'
export {
  type CommandHandlers,
  type CommandMessage,
  type CommandsOptions,
  consumeReplies,
  serveCommands,
} from './stores/kafka/saga.ts'
export { openSagaAlerts, type SagaAlertsOptions } from './notify/sagas.ts'
export type { Alert, AlertName, Alerts } from './model/alert.ts'
