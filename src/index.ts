export { type Answer, idempotent, type LegRequest, type TransactionClient } from './dualwrite/idempotent.ts'
export { MigrateError } from './errors.ts'
