/** When it makes sense to try again: by itself after a delay, after somebody has acted, or not at all. */
export type RetryDirective = 'timed' | 'manual' | 'never'

/** Exit codes of the command line; see docs/reference/errors.md. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  findings: 3,
  gate: 4,
  locked: 5,
  timeout: 6,
  unavailable: 7,
  integrity: 8,
  interrupted: 130,
  terminated: 143,
} as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

export interface CatalogueEntry {
  /** what happened; `{name}` is filled from the context */
  readonly message: string
  /** what to do, with the exact command or SQL */
  readonly hint: string
  readonly retry: RetryDirective
  readonly exit: ExitCode
}

/** Every error this program can show. docs/reference/errors.md is kept equal to it by a test. */
export const CATALOGUE = {
  INTERNAL: {
    message: 'something unexpected happened: {reason}',
    hint: 'This is a defect of migrate. Run the command again with -v and report what it prints.',
    retry: 'manual',
    exit: EXIT.failed,
  },
  USAGE: {
    message: '{reason}',
    hint: 'Run `{command} --help`.',
    retry: 'never',
    exit: EXIT.usage,
  },
  NODE_TOO_OLD: {
    message: 'Node.js {found} is too old',
    hint: 'Use Node.js 22.19 or newer.',
    retry: 'never',
    exit: EXIT.usage,
  },
  CONFIG_MISSING: {
    message: 'there is no configuration file at {path}',
    hint: 'Write one with `migrate init --from URL`, or name it with --config PATH. fixtures/config/shop.yaml is an annotated example.',
    retry: 'manual',
    exit: EXIT.usage,
  },
  CONFIG_SYNTAX: {
    message: '{at}: {reason}',
    hint: 'Correct the YAML at that place.',
    retry: 'manual',
    exit: EXIT.usage,
  },
  CONFIG_UNKNOWN_KEY: {
    message: '{at}: unknown key "{key}" in {section}{suggestion}',
    hint: 'Allowed here: {allowed}.',
    retry: 'manual',
    exit: EXIT.usage,
  },
  CONFIG_INVALID: {
    message: '{at}: {path} {reason}',
    hint: 'Correct the value; docs/reference/config.md describes every key.',
    retry: 'manual',
    exit: EXIT.usage,
  },
  CONFIG_VARIABLE_UNSET: {
    message: '{at}: the environment variable {variable} is not set',
    hint: 'Export it, name a file with --env-file FILE, or give a default: ${{variable}:-value}.',
    retry: 'manual',
    exit: EXIT.usage,
  },
  CONFIG_FILE_UNREADABLE: {
    message: '{at}: the file {file} cannot be read ({reason})',
    hint: 'Check the path and the permissions.',
    retry: 'manual',
    exit: EXIT.usage,
  },
  FILE_EXISTS: {
    message: '{path} is there already, and nothing was written',
    hint: 'Move it away, or name another file: `init` with --config PATH, `dlq export` with --output PATH. Neither overwrites.',
    retry: 'manual',
    exit: EXIT.gate,
  },
  FILE_UNWRITABLE: {
    message: '{path} cannot be written ({reason}), and nothing was left behind',
    hint: 'Check that the folder is there, its permissions and the space on the disk.',
    retry: 'manual',
    exit: EXIT.failed,
  },
  TABLE_UNKNOWN: {
    message: 'the {role} database has no table "{table}"{suggestion}',
    hint: 'Name tables as the database does, with the schema where it is not public.',
    retry: 'manual',
    exit: EXIT.findings,
  },
  NOTHING_TO_MOVE: {
    message: 'the database at {address} has no table with a primary key, so nothing was written',
    hint: 'Check the database name, and that the role may see its schemas; a table needs a primary key to be synced.',
    retry: 'manual',
    exit: EXIT.findings,
  },
  SERVICE_UNKNOWN: {
    message: 'there is no service "{service}" in the configuration{suggestion}',
    hint: 'Services: {known}.',
    retry: 'never',
    exit: EXIT.usage,
  },
  PERCENT_INVALID: {
    message: '{value} is not a percentage',
    hint: 'Give a number from 0 to 100, for example --percent 25.',
    retry: 'never',
    exit: EXIT.usage,
  },
  STAGE_ILLEGAL: {
    message: '{service} cannot go from stage {from} to {to}',
    hint: 'From {from} it can go to: {legal}. Next: `migrate {next}`.',
    retry: 'manual',
    exit: EXIT.gate,
  },
  DATABASE_UNREACHABLE: {
    message: 'cannot connect to the {role} database at {address}: {reason}',
    hint: 'Check that the server is up, and host, port, user and password in the configuration.',
    retry: 'timed',
    exit: EXIT.unavailable,
  },
  DATABASE_LOGIN: {
    message: 'the {role} database at {address} refuses the login: {reason}',
    hint: 'Check user, password and database name in the configuration.',
    retry: 'manual',
    exit: EXIT.unavailable,
  },
  DATABASE_PERMISSION: {
    message: 'the {role} database refuses: {reason}',
    hint: 'Grant the apply role what it needs; docs/how-to/roles.md has the SQL.',
    retry: 'manual',
    exit: EXIT.findings,
  },
  DATABASE_STATEMENT: {
    message: 'the {role} database answered {sqlstate}: {reason}',
    hint: 'See the message of the server; run with -v for the statement.',
    retry: 'manual',
    exit: EXIT.failed,
  },
  CHECK_FAILED: {
    message: '{service} is not ready to be synced: {count} finding(s)',
    hint: 'Run the SQL printed with each finding, then the command again.',
    retry: 'manual',
    exit: EXIT.findings,
  },
  SYNC_INCOMPLETE: {
    message: 'the last copy of {service} did not finish and its slot {slot} is held by another session',
    hint: 'Wait until that session ends, then run `migrate sync {service}` again.',
    retry: 'timed',
    exit: EXIT.locked,
  },
  SLOT_LOST: {
    message: 'the replication slot {slot} is gone or invalid; changes since {position} may be missing in {service}',
    hint: 'Nothing was changed. The one way on is to copy the tables again: `migrate sync {service} --resnapshot`. docs/how-to/slot.md says how this comes.',
    retry: 'never',
    exit: EXIT.integrity,
  },
  SLOT_RECREATED: {
    message:
      'the replication slot {slot} begins at {confirmed}, beyond {position}, which {service} has: it was made again or moved on, or {service} was restored from an older state',
    hint: 'Nothing was changed; what lies between was never read. The one way on is to copy the tables again: `migrate sync {service} --resnapshot`.',
    retry: 'never',
    exit: EXIT.integrity,
  },
  SLOT_DETACHED: {
    message:
      'the replication slot {slot} was given up at {at}: it kept {retained} of the log of the {role} (the limit is {limit}) and its target did not follow; changes since {position} are missing in {service}',
    hint: "The server's disk is safe. When the target works again, copy the tables again: `migrate sync {service} --resnapshot`. docs/how-to/slot.md says how the limit is set.",
    retry: 'never',
    exit: EXIT.integrity,
  },
  PUBLICATION_LOST: {
    message:
      'the publication {publication} is gone, lacks a table or was altered{detail}; changes since {position} may be missing in {service}',
    hint: 'Nothing was changed. Adding the table again would hide what was missed; the one way on is to copy the tables again: `migrate sync {service} --resnapshot`.',
    retry: 'never',
    exit: EXIT.integrity,
  },
  TIMELINE_CHANGED: {
    message:
      'the {role} database has another history than the one {service} was copied from: {detail}. It was restored, or a standby was promoted',
    hint: 'Nothing was changed. What {service} has may never have happened there, and the other way round; the one way on is to copy the tables again: `migrate sync {service} --resnapshot`.',
    retry: 'never',
    exit: EXIT.integrity,
  },
  WAY_BACK_LOST: {
    message:
      'the way back of {service} is lost: {reason}; what {service} has committed since {position} does not reach the monolith',
    hint: 'The service keeps the write authority and goes on. `migrate rollback {service}` stays refused: it would lose these changes, until the tables have been copied back into the monolith, which this version has no command for. See docs/how-to/slot.md.',
    retry: 'never',
    exit: EXIT.integrity,
  },
  RESNAPSHOT_REFUSED: {
    message:
      '{service} is at stage {stage}: its rows cannot be replaced while anybody may use them; nothing was changed',
    hint: 'Step back first: {commands}. Then run `migrate sync {service} --resnapshot` again.',
    retry: 'manual',
    exit: EXIT.gate,
  },
  SERVER_CHANGED: {
    message:
      'the {role} database is another server than the one {service} was copied from (system identifier {found}, expected {expected})',
    hint: 'Point the configuration back to the old server, or copy the tables from this one: `migrate sync {service} --resnapshot`.',
    retry: 'never',
    exit: EXIT.integrity,
  },
  STREAM_MALFORMED: {
    message: 'the replication stream has a message that the protocol does not know: {reason}',
    hint: 'Nothing was applied from it. Report it with the version of the server.',
    retry: 'never',
    exit: EXIT.integrity,
  },
  SPOOL_FAILED: {
    message: 'a big transaction of the source cannot be kept in {folder}: {reason}',
    hint: 'Make room there, or set TMPDIR to a folder with room. Nothing is lost: the source sends it again.',
    retry: 'timed',
    exit: EXIT.unavailable,
  },
  KEY_AMBIGUOUS: {
    message: 'a transaction changes a row of {table} while two rows have its key',
    hint: 'The key of {table} is deferrable, and which of the two rows is meant cannot be told. Nothing of the transaction was applied.',
    retry: 'never',
    exit: EXIT.integrity,
  },
  ROW_MISSING: {
    message: 'a change of {table} found no row to change in the {role} database',
    hint: 'Somebody else has written to the copy. Compare both sides before going on.',
    retry: 'never',
    exit: EXIT.integrity,
  },
  TARGET_SCHEMA: {
    message: 'the table {table} of {service} differs from the monolith: {difference}',
    hint: "Change the service's table so that every column of the monolith exists with the same type.",
    retry: 'manual',
    exit: EXIT.findings,
  },
  TARGET_NOT_EMPTY: {
    message: 'the table {table} of {service} already has rows, and no checkpoint says where they come from',
    hint: "Empty the table (`truncate {table} cascade` in the service's database), then run `migrate sync {service}` again.",
    retry: 'manual',
    exit: EXIT.gate,
  },
  TAKEN_OVER: {
    message: 'another run has taken over {what}',
    hint: 'Nothing to do: the other run goes on. `migrate status` shows it.',
    retry: 'never',
    exit: EXIT.locked,
  },
  LEASE_LOST: {
    message: 'the lease {what} could not be renewed for {seconds} s: the control database does not answer',
    hint: 'Nothing is written without it. When the control database is back, run the command again.',
    retry: 'timed',
    exit: EXIT.unavailable,
  },
  MOVE_UNSETTLED: {
    message: '{action} of {service} broke off and could not be ended: {reason}',
    hint: 'One side at most takes writes, and what was acknowledged is kept. When that database is back a running `migrate sync {service}` ends it within 15 s, and so does `migrate {action} {service}`.',
    retry: 'manual',
    exit: EXIT.unavailable,
  },
  LOCKED: {
    message: '{what} is being worked on by {holder} since {since} (renewed {seconds} s ago)',
    hint: 'Wait for it, or stop that process: its lease ends by itself within 10 s.',
    retry: 'timed',
    exit: EXIT.locked,
  },
  WORKER_MISSING: {
    message: 'no sync worker of {service} is running',
    hint: 'Start one in another terminal: `migrate sync {service}`.',
    retry: 'manual',
    exit: EXIT.gate,
  },
  GATE_FAILED: {
    message: '{action} of {service} was not started, nothing has changed: {failed}',
    hint: '{remedy}',
    retry: 'manual',
    exit: EXIT.gate,
  },
  FENCE_BUSY: {
    message: 'the fence of {service} was not taken, nothing has changed: {blockers}',
    hint: 'Wait for the transactions named, or end them, then run the command again.',
    retry: 'manual',
    exit: EXIT.timeout,
  },
  STEP_TIMEOUT: {
    message: '{action} of {service} gave up in step "{step}" after {milliseconds} ms{waiting} and put everything back',
    hint: 'Writes go on as before. `migrate status` shows what is slow; then run the command again.',
    retry: 'manual',
    exit: EXIT.timeout,
  },
  DRIFT_FOUND: {
    message: '{count} row(s) of {service} differ between monolith and service',
    hint: 'Nothing was changed. `migrate reconcile {service}` names their keys; put these rows right, then try again.',
    retry: 'manual',
    exit: EXIT.findings,
  },
  NOTHING_TO_COMPARE: {
    message: 'there is no copy of {service} that is kept equal, so nothing to compare',
    hint: 'Start one with `migrate sync {service}`; `migrate status` shows the stage.',
    retry: 'manual',
    exit: EXIT.gate,
  },
  RECONCILE_INCOMPLETE: {
    message: '{service} was not fully verified: {open} range(s) not looked at, {unsettled} unsettled, {failed} failed',
    hint: 'Run `migrate reconcile {service}` again: it goes on where this run stopped. More --budget takes it further.',
    retry: 'timed',
    exit: EXIT.findings,
  },
  SWITCH_REFUSED: {
    message: 'the switch of {service} was refused: {reason}; everything was put back',
    hint: 'Writes go on as before. Run the command again.',
    retry: 'manual',
    exit: EXIT.timeout,
  },
  ALERT_UNDELIVERED: {
    message: '{target} did not take the alert: {reason}',
    hint: 'Check that it is up and can be reached from here; `migrate config test-alerts` sends a test.',
    retry: 'timed',
    exit: EXIT.unavailable,
  },
  ALERT_REFUSED: {
    message: '{target} cannot take alerts: {reason}',
    hint: 'Correct the target under `alerts` in the configuration; `migrate config test-alerts` sends a test.',
    retry: 'manual',
    exit: EXIT.unavailable,
  },
  WAIT_TIMEOUT: {
    message: 'not {what} within {time}: {missing}',
    hint: '`migrate status` shows where everything stands; --timeout gives it longer.',
    retry: 'timed',
    exit: EXIT.timeout,
  },
  CONTROL_DAMAGED: {
    message: 'the control database has "{found}" as the {what} of {service}, which does not exist',
    hint: 'Somebody has changed the schema "migrate" by hand, and nothing was done. `select * from migrate.audit order by id desc` has what was there.',
    retry: 'never',
    exit: EXIT.integrity,
  },
  OUTPUT_UNWRITABLE: {
    message: 'what this command had to say could not be written: {reason}',
    hint: 'Make room, or write somewhere else. What the command does besides was done.',
    retry: 'manual',
    exit: EXIT.failed,
  },
  CONTROL_OUTDATED: {
    message: 'the control schema is version {found}, this program needs {expected}',
    hint: 'Use the newer version of migrate.',
    retry: 'never',
    exit: EXIT.usage,
  },
  LEG_UNANSWERED: {
    message: 'second legs to {service} were not answered: {reason}',
    hint: 'The sync carries the data. See that the service is up and answers in time, then `migrate dlq retry ID`.',
    retry: 'timed',
    exit: EXIT.unavailable,
  },
  LEG_NOT_TAKEN: {
    message: 'a second leg to {service} was not carried out: {reason}',
    hint: 'The sync carries the data. Every write handler of the service must send the headers that `idempotent()` returns.',
    retry: 'manual',
    exit: EXIT.failed,
  },
  LEG_DIFFERENT: {
    message: '{service} answered a second leg with another status class than the monolith',
    hint: 'Mend the handler of the service, then `migrate dlq retry ID`; `migrate dlq show ID` has the request.',
    retry: 'manual',
    exit: EXIT.findings,
  },
  ID_NOT_KEPT: {
    message: '{service} gave a new row another id than the monolith',
    hint: 'The route has no second legs until this is settled: make the handler keep `x-migrate-id`, then `migrate dlq retry ID`.',
    retry: 'manual',
    exit: EXIT.findings,
  },
  DEAD_LETTER_UNKNOWN: {
    message: 'there is no dead letter {id}',
    hint: '`migrate dlq list` shows the open ones.',
    retry: 'never',
    exit: EXIT.findings,
  },
  DEAD_LETTER_CLOSED: {
    message: 'the dead letter {id} is {state} already, and nothing was changed',
    hint: '`migrate dlq list` shows the open ones.',
    retry: 'never',
    exit: EXIT.gate,
  },
  CONFIRMATION_MISSING: {
    message: '{action} cannot be taken back, and nothing was changed',
    hint: 'Say so with --confirm {name}.',
    retry: 'never',
    exit: EXIT.gate,
  },
  RESYNC_REFUSED: {
    message: '{service} is not copied from the monolith now, so nothing can be synced again',
    hint: 'At stage live the service has the authority: `migrate dlq discard` closes letters of earlier legs.',
    retry: 'manual',
    exit: EXIT.gate,
  },
  PORT_IN_USE: {
    message: 'cannot listen on {address}: {reason}',
    hint: 'Stop the process that uses it, or choose another with --listen HOST:PORT.',
    retry: 'manual',
    exit: EXIT.failed,
  },
  SERVER_UNAVAILABLE: {
    message: 'the embedded {server} did not start: {reason}',
    hint: 'See {log}.',
    retry: 'manual',
    exit: EXIT.unavailable,
  },
  VERDICT_WRONG: {
    message: 'the demo ended with a wrong verdict: {reason}',
    hint: 'Run it again with --keep and look at the ledger it names.',
    retry: 'never',
    exit: EXIT.integrity,
  },
  STREAM_CONFLICT: {
    message: 'stream {stream} is at version {found}, expected was {expected}',
    hint: 'Somebody else has appended. Read the stream again, decide again, append again.',
    retry: 'manual',
    exit: EXIT.gate,
  },
  EVENTS_OVERLAP: {
    message: 'some of the events for stream {stream} are stored already, and some are not',
    hint: 'Ids of events are never used again for another append. Nothing was appended.',
    retry: 'never',
    exit: EXIT.gate,
  },
  EVENT_INVALID: {
    message: 'an event cannot be stored: {type}: {reason}',
    hint: 'Correct it; nothing was appended.',
    retry: 'never',
    exit: EXIT.usage,
  },
  EVENT_UNKNOWN: {
    message: 'there is no definition for events of type {type} (stream {stream})',
    hint: 'Add it to the definitions that the store was opened with; types that are not written any more need one as well.',
    retry: 'never',
    exit: EXIT.failed,
  },
  EVENT_NEWER: {
    message: 'an event {type} of stream {stream} has schema version {found}, this program knows {known}',
    hint: 'A newer version of the service has written it. Use that version.',
    retry: 'never',
    exit: EXIT.failed,
  },
  EVENT_NOT_UPCAST: {
    message: 'there is no upcaster for {type} from schema version {from} to {to} (stream {stream})',
    hint: 'Add it to the definition of the event.',
    retry: 'never',
    exit: EXIT.failed,
  },
  EVENTING_MISSING: {
    message: 'the database of {service} has no schema "eventing"',
    hint: 'The service installs it with installEventing(pool) of this package when it starts; docs/how-to/events.md.',
    retry: 'manual',
    exit: EXIT.findings,
  },
  STREAM_UNKNOWN: {
    message: 'there is no stream {stream} in the database of {service}',
    hint: 'See which there are: migrate events read {service} --limit 20',
    retry: 'never',
    exit: EXIT.findings,
  },
  SUBSCRIPTION_UNKNOWN: {
    message: 'there is no subscription or projection {name} in the database of {service}',
    hint: 'There are: {known}.',
    retry: 'never',
    exit: EXIT.usage,
  },
  BROKER_UNAVAILABLE: {
    message: 'Kafka does not do what it is asked for: {reason}',
    hint: 'Check that the brokers are up and reachable under the names that they advertise. Nothing is lost; it is tried again.',
    retry: 'timed',
    exit: EXIT.unavailable,
  },
  PUBLISHER_REPLACED: {
    message: 'another process publishes in the place of this one: {reason}',
    hint: 'It stands by, and takes its turn when the other one ends.',
    retry: 'timed',
    exit: EXIT.locked,
  },
  PROJECTION_NAME: {
    message: '{name} version {version} cannot be the name and version of a projection',
    hint: 'Lower case letters, digits and _ with a schema in front or not; versions are 1, 2, 3 …',
    retry: 'never',
    exit: EXIT.usage,
  },
  REPLAY_POSITION: {
    message: '{name} cannot be set back to {to}: it is at {at}',
    hint: 'Name a position that it has passed, as `migrate events read --json` has them. A projection starts over: leave --from out.',
    retry: 'never',
    exit: EXIT.usage,
  },
  INVALID_STATE: {
    message: '{aggregate} is {state}: it is not possible to {action}',
    hint: 'Read its present state, and decide again.',
    retry: 'never',
    exit: EXIT.gate,
  },
  MESSAGE_INVALID: {
    message: 'a message of type {type} cannot be read: {reason}',
    hint: 'Whoever sent it must send it again in the right form; `migrate dlq show ID --kind consumer --service NAME` has its bytes.',
    retry: 'never',
    exit: EXIT.failed,
  },
  PARTITION_LOST: {
    message: 'consumer {consumer} does not have {topic}/{partition} any more',
    hint: 'Another process has taken it over. Nothing was written; this one goes on with what it is given.',
    retry: 'timed',
    exit: EXIT.locked,
  },
  CONSUMER_PAUSED: {
    message: 'consumer {consumer} pauses: {reason}',
    hint: 'It tries again by itself. Nothing was written, parked or passed over.',
    retry: 'timed',
    exit: EXIT.unavailable,
  },
  OFFSET_NOT_IN_LOG: {
    message: 'consumer {consumer} is at offset {offset} of {topic}/{partition}, which has {first} to {end}',
    hint: "Records were deleted before they were handled, or the topic was made anew. When what is missing is settled: `update eventing.consumer_offset set next_offset = OFFSET where consumer = '{consumer}' and topic = '{topic}' and partition = {partition}`. The other partitions go on.",
    retry: 'manual',
    exit: EXIT.integrity,
  },
  DEAD_LETTER_KIND: {
    message: 'a number alone does not say which letter is meant: there are second legs, and consumers in {services}',
    hint: 'Say --kind dual-write, or --kind consumer; `migrate dlq list` shows both.',
    retry: 'never',
    exit: EXIT.usage,
  },
  DEAD_LETTER_SERVICE: {
    message: 'the databases of several services may have dead letters of consumers: {services}',
    hint: 'Name one with --service NAME; each numbers its own letters.',
    retry: 'never',
    exit: EXIT.usage,
  },
  TRANSACTION_SHARED: {
    message: '"{statement}" was not carried out: the transaction also holds what the library notes about this work',
    hint: 'Leave it out: it is committed when the function has ended, and rolled back when it throws. For parts of it use savepoints.',
    retry: 'never',
    exit: EXIT.usage,
  },
  SAGA_DEFINITION_INVALID: {
    message: 'saga {saga} cannot be carried out: {reason}',
    hint: 'Correct its definition. Steps are compensable first, then at most one pivot, then retriable ones.',
    retry: 'never',
    exit: EXIT.usage,
  },
  SAGA_DEFINITION_CHANGED: {
    message: 'saga {saga} version {version} has other steps here than it had when it was first run: {difference}',
    hint: 'Running sagas rely on the steps they began with. Give the changed definition a new version, and keep the old one until `migrate saga stats SERVICE` shows none that runs.',
    retry: 'never',
    exit: EXIT.gate,
  },
  SAGA_UNKNOWN: {
    message: 'there is no saga {saga} in the database of {service}',
    hint: 'See which there are: migrate saga list {service}. An id is a UUID, or its beginning, at least four characters.',
    retry: 'never',
    exit: EXIT.findings,
  },
  SAGA_AMBIGUOUS: {
    message: 'several sagas begin with {saga}: {one}, {other} …',
    hint: 'Give more of the id.',
    retry: 'never',
    exit: EXIT.usage,
  },
  SAGA_NOT_DEFINED: {
    message: 'saga {saga} version {version} is not among the definitions of this process',
    hint: 'Give it to `new Sagas(pool, { sagas: […] })`: this very object, not another one that is built alike.',
    retry: 'never',
    exit: EXIT.usage,
  },
  SAGA_EXISTS: {
    message: 'there is a saga {saga} already, which is another one: {difference} differs',
    hint: 'An id belongs to one saga with one input. Start it with an id of its own.',
    retry: 'never',
    exit: EXIT.gate,
  },
  SAGA_INPUT_INVALID: {
    message: 'the input of saga {saga} cannot be taken: {reason}',
    hint: 'Nothing was started. Correct the input.',
    retry: 'never',
    exit: EXIT.usage,
  },
  SAGA_MOVED: {
    message: 'saga {saga} has moved on: it is at entry {found} of its journal, not {expected}',
    hint: 'Nothing was changed. Look at it again: migrate saga show {service} {saga}',
    retry: 'never',
    exit: EXIT.gate,
  },
  SAGA_NOT_POSSIBLE: {
    message: 'saga {saga} is {status}, and it is not possible to {verb} it: {reason}',
    hint: 'Nothing was changed. See what it did: migrate saga show {service} {saga}',
    retry: 'never',
    exit: EXIT.gate,
  },
  SAGA_REPLY_INVALID: {
    message: 'a reply to a saga cannot be read: {reason}',
    hint: 'Participants reply with `serveCommands` or `replyTo`, which know the form.',
    retry: 'never',
    exit: EXIT.failed,
  },
  SAGA_KEY_INVALID: {
    message: 'this is no idempotency key of a saga: {key}',
    hint: 'It is sent in the header idempotency-key, as SAGA/STEP/execute or SAGA/STEP/compensate.',
    retry: 'never',
    exit: EXIT.usage,
  },
  STEP_REFUSED: {
    message: 'refused: {reason}',
    hint: 'The participant has done nothing, and will not; the saga is taken back.',
    retry: 'never',
    exit: EXIT.gate,
  },
} as const satisfies Record<string, CatalogueEntry>

export type ErrorCode = keyof typeof CATALOGUE
export type ErrorContext = Readonly<Record<string, string | number>>

/** The one error class. The context may name tables, services, slots; never row values or secrets. */
export class MigrateError extends Error {
  override readonly name = 'MigrateError'
  readonly code: ErrorCode
  readonly context: ErrorContext

  constructor(code: ErrorCode, context: ErrorContext = {}, options?: { cause?: unknown }) {
    super(fill(CATALOGUE[code].message, context), options)
    this.code = code
    this.context = context
  }

  get hint(): string {
    return fill(CATALOGUE[this.code].hint, this.context)
  }

  get retry(): RetryDirective {
    return CATALOGUE[this.code].retry
  }

  get exit(): ExitCode {
    return CATALOGUE[this.code].exit
  }
}

/** Anything thrown, as a MigrateError; a stranger becomes INTERNAL. */
export function asMigrateError(error: unknown): MigrateError {
  if (error instanceof MigrateError) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new MigrateError('INTERNAL', { reason }, { cause: error })
}

function fill(template: string, context: ErrorContext): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => (name in context ? String(context[name]) : whole))
}
