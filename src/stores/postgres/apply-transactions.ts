import type { RawTransaction } from '../../sync/raw-transaction.ts'
import { applyExactly } from './apply-exactly.ts'
import type { RowWriter } from './row-writer.ts'
import { sqlstate } from './translate.ts'
import { writeTable } from './write-table.ts'

/** Thrown inside a transaction of the target whose rows must not stay; the whole is done again with more care. */
class OutOfOrder extends Error {}

/** So few changes are not taken together any more when they have not fitted. */
const FEW_CHANGES = 64

/**
 * Does to the target what these transactions did to the source, taken together by key. Throws OutOfOrder, or the
 * server's 23505, when the order of the source matters after all: then nothing of it may stay.
 */
export async function applyTogether(rows: RowWriter, transactions: readonly RawTransaction[]): Promise<void> {
  for (const segment of rows.compactor.compact(transactions)) {
    if (segment.kind === 'change') {
      await applyExactly(rows, segment.change)
      continue
    }
    // a row that waits for its key is in no statement's sight
    if (!rows.stash.isEmpty) throw new OutOfOrder()
    for (const table of segment.tables) if (!(await writeTable(rows, table))) throw new OutOfOrder()
  }
}

/**
 * As `applyTogether`, but what does not fit is halved until it does, and a few changes are done in the order of the
 * source. Throws ROW_MISSING when that finds no row either.
 */
export async function applyWithCare(rows: RowWriter, transactions: readonly RawTransaction[]): Promise<void> {
  const size = transactions.reduce((sum, each) => sum + each.size, 0)
  if (size > FEW_CHANGES && (await fits(rows, transactions))) return
  if (size <= FEW_CHANGES || transactions.length === 1) {
    for (const { changes } of transactions) for (const change of changes) await applyExactly(rows, change)
    return
  }
  const half = transactions.length >> 1
  await applyWithCare(rows, transactions.slice(0, half))
  await applyWithCare(rows, transactions.slice(half))
}

async function fits(rows: RowWriter, transactions: readonly RawTransaction[]): Promise<boolean> {
  await rows.client.query('savepoint together')
  const restore = rows.stash.save()
  try {
    await applyTogether(rows, transactions)
    await rows.client.query('release savepoint together')
    return true
  } catch (error) {
    if (!isOutOfOrder(error)) throw error
    await rows.client.query('rollback to savepoint together')
    rows.rolledBack()
    restore()
    return false
  }
}

/** Two rows in the place of one, for a moment that the source never had. */
export function isOutOfOrder(error: unknown): boolean {
  // unique, exclusion, foreign key, and what a check or a not-null domain says of a row that was put together
  return error instanceof OutOfOrder || ['23505', '23P01', '23503'].includes(sqlstate(error))
}
