import type { TransactionClient } from '../model/service-database.ts'

/** It was handled after all. */
export async function resolveLetter(tx: TransactionClient, id: string): Promise<void> {
  await tx.query(`update eventing.dead_letter set state = 'resolved', settled_at = clock_timestamp() where id = $1`, [
    id,
  ])
}

/** It was tried again, and failed again. */
export async function reopenLetter(
  tx: TransactionClient,
  id: string,
  { fqcn, message, stack }: { readonly fqcn: string; readonly message: string; readonly stack: string },
): Promise<void> {
  await tx.query(
    `update eventing.dead_letter set state = 'open', error = $2, message = $3, stack = $4, attempts = attempts + 1,
       settled_by = null, settled_at = null where id = $1`,
    [id, fqcn, message, stack],
  )
}
