/** The part of Standard Schema (zod, valibot, arktype …) that is used here. */
export interface StandardSchema<T> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    validate(value: unknown): SchemaResult<T> | Promise<SchemaResult<T>>
  }
}

type SchemaResult<T> =
  | { readonly value: T; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] }

/** What is known of one type of event. */
export interface EventDefinition<Data> {
  /** of the payload as it is written today: 1, 2, … */
  readonly schemaVersion: number
  /** By the version they take: each makes the payload of one version into that of the next. */
  readonly upcasters: Readonly<Record<number, (data: never) => unknown>>
  readonly schema: StandardSchema<Data> | null
  /** only a type */
  readonly data?: Data
}

export type EventDefinitions = Readonly<Record<string, EventDefinition<never> | EventDefinition<unknown>>>

/**
 * One type of event: `event<{ total: string }>()`, or `event({ schema })` whose payload type is the schema's. With
 * `schemaVersion: 2` there has to be an upcaster for version 1, and so on.
 */
export function event<Data>(
  options: {
    readonly schema?: StandardSchema<Data>
    readonly schemaVersion?: number
    readonly upcasters?: Readonly<Record<number, (data: never) => unknown>>
  } = {},
): EventDefinition<Data> {
  const { schema = null, schemaVersion = 1, upcasters = {} } = options
  return { schema, schemaVersion, upcasters }
}

/** The union of the events that these definitions describe: `{ type: 'OrderPaid', data: { … } } | …`. */
export type EventOf<Definitions extends EventDefinitions> = {
  [Type in keyof Definitions & string]: {
    readonly type: Type
    readonly data: Definitions[Type] extends EventDefinition<infer Data> ? Data : never
  }
}[keyof Definitions & string]

export interface AnyEvent {
  readonly type: string
  readonly data: unknown
}

/** An event that shall be appended. */
export type NewEvent<Event extends AnyEvent> = Event & {
  /** UUID by which a repeated append is recognised; default a random one, which the store's own retries repeat */
  readonly id?: string
  /** whatever is not the payload: who, why, correlation, trace */
  readonly metadata?: Readonly<Record<string, unknown>>
}

/** An event as it was stored, its payload in today's form. */
export type StoredEvent<Event extends AnyEvent> = Event & {
  readonly id: string
  readonly stream: string
  /** 1 for the first of its stream */
  readonly version: number
  readonly metadata: Readonly<Record<string, unknown>>
  readonly createdAt: Date
  readonly position: EventPosition
}

/** Place in the order of all events of the store; compare with `comparePositions`. */
export interface EventPosition {
  readonly epoch: number
  readonly tx: bigint
  readonly seq: bigint
}

/** Before all events. */
export const START: EventPosition = { epoch: 0, tx: 0n, seq: 0n }

/** Negative when `a` comes first, 0 when they are the same. */
export function comparePositions(a: EventPosition, b: EventPosition): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch
  if (a.tx !== b.tx) return a.tx < b.tx ? -1 : 1
  return a.seq === b.seq ? 0 : a.seq < b.seq ? -1 : 1
}
