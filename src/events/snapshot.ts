import type { TransactionClient } from '../model/service-database.ts'

/** The state of an aggregate after so many events. */
export interface Snapshot<State = unknown> {
  readonly version: number
  /** of the form of `state`; one that the program does not use any more is passed over */
  readonly schemaVersion: number
  readonly state: State
}

export async function saveSnapshot(client: TransactionClient, stream: string, snapshot: Snapshot): Promise<void> {
  const { version, schemaVersion, state } = snapshot
  await client.query(
    `insert into eventing.snapshot (aggregate_id, version, schema_version, state) values ($1, $2, $3, $4)
     on conflict (aggregate_id) do update set version = excluded.version, schema_version = excluded.schema_version,
       state = excluded.state, created_at = clock_timestamp()
     where snapshot.version <= excluded.version or snapshot.schema_version <> excluded.schema_version`,
    [stream, version, schemaVersion, JSON.stringify(state)],
  )
}

export async function loadSnapshot(
  client: TransactionClient,
  stream: string,
  schemaVersion: number,
): Promise<Snapshot | null> {
  const { rows } = await client.query(
    `select version::text, state from eventing.snapshot where aggregate_id = $1 and schema_version = $2`,
    [stream, schemaVersion],
  )
  const row = rows[0] as { version: string; state: unknown } | undefined
  return row === undefined ? null : { version: Number(row.version), schemaVersion, state: row.state }
}
