import { connect } from '../database.ts'
import { byHand, type Check, type Found, type Side, sidesOf } from './check.ts'

export const pooler: Check = {
  id: 'pooler',
  severity: 'error',
  looksFor: 'a connection pooler between migrate and the server',
  why: 'Replication, advisory locks and settings belong to one session, and a pooler hands each statement to another.',
  async find(context) {
    const found = sidesOf(context).map(async (side) => ((await isDirect(side)) ? [] : [poolerFound(side)]))
    return (await Promise.all(found)).flat()
  },
}

export function poolerFound(
  side: Side,
  measured = 'the session is not the one that the server greeted us with',
): Found {
  return byHand(
    side,
    'there is a connection pooler in between',
    measured,
    "Name the server's own host and port in the configuration, not the pooler's.",
  )
}

/** A server greets with the number of its process; a pooler makes that number up, for every one of its clients. */
async function isDirect({ connection }: Side): Promise<boolean> {
  const { client, sql } = await connect(connection)
  try {
    const { rows } = await sql.query<{ pid: number }>('select pg_backend_pid() as pid')
    const greeted = (client as unknown as { readonly processID: number | null }).processID
    return rows[0]?.pid === greeted
  } finally {
    await client.end()
  }
}

/** PgBouncer refuses the settings that a session of ours starts with. */
export function isPoolerRefusal(error: unknown): boolean {
  return error instanceof Error && error.message.includes('unsupported startup parameter')
}
