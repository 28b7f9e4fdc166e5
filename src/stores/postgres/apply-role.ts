import type { TableInfo } from './catalogue.ts'
import { quote, quoteLiteral } from './identifier.ts'

/** The name that the documentation gives to the role that migrate works under. */
export const APPLY_ROLE = 'migrate_apply'

/** All that the apply role needs in one database; may run again. It gets no password: `\password` sets one. */
export function applyRoleSql(
  server: { readonly database: string; readonly version: number; readonly superusers: readonly string[] },
  tables: readonly Pick<TableInfo, 'owner'>[],
): string[] {
  const role = quote(APPLY_ROLE)
  // a member of a superuser is one step from being one: the check of ownership says what to do about those
  const owners = [...new Set(tables.map(({ owner }) => owner))].filter((owner) => !server.superusers.includes(owner))
  return [
    `do $$ begin if not exists (select from pg_roles where rolname = ${quoteLiteral(APPLY_ROLE)}) then create role ${role} login replication; end if; end $$;  -- then: \\password ${APPLY_ROLE}`,
    // text of a regrole: quoted where it has to be
    ...owners.sort().map((owner) => `grant ${owner} to ${role};`),
    `grant create on database ${quote(server.database)} to ${role};`,
    `grant pg_monitor, pg_signal_backend to ${role};`,
    ...(server.version >= 150_000 ? [`grant set on parameter session_replication_role to ${role};`] : []),
  ]
}
