import { abandonedSlots } from './abandoned-slots.ts'
import { applyRole } from './apply-role.ts'
import type { Check } from './check.ts'
import { foreignKeys } from './foreign-keys.ts'
import { generatedColumns } from './generated-columns.ts'
import { identityColumns } from './identity-columns.ts'
import { longTransactions } from './long-transactions.ts'
import { ownership } from './ownership.ts'
import { partitions } from './partitions.ts'
import { pooler } from './pooler.ts'
import { privileges } from './privileges.ts'
import { replicaIdentity } from './replica-identity.ts'
import { replication } from './replication.ts'
import { rowSecurity } from './row-security.ts'
import { sameDatabase } from './same-database.ts'
import { senders } from './senders.ts'
import { sessionReplicationRole } from './session-replication-role.ts'
import { sharedSequence } from './shared-sequence.ts'
import { slots } from './slots.ts'
import { standby } from './standby.ts'
import { superuser } from './superuser.ts'
import { table } from './table.ts'
import { target } from './target.ts'
import { triggers } from './triggers.ts'
import { unlogged } from './unlogged.ts'
import { unownedSequence } from './unowned-sequence.ts'
import { version } from './version.ts'
import { walCap } from './wal-cap.ts'
import { walLevel } from './wal-level.ts'

/** Every check, in the order in which findings are shown: servers, roles, tables. */
export const CHECKS: readonly Check[] = [
  version,
  standby,
  sameDatabase,
  pooler,
  walLevel,
  slots,
  senders,
  walCap,
  abandonedSlots,
  longTransactions,
  applyRole,
  superuser,
  replication,
  sessionReplicationRole,
  privileges,
  table,
  replicaIdentity,
  ownership,
  rowSecurity,
  unlogged,
  partitions,
  foreignKeys,
  triggers,
  sharedSequence,
  unownedSequence,
  generatedColumns,
  identityColumns,
  target,
]
