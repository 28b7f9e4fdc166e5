import { MigrateError } from '../errors.ts'

/** A share of 0 to 100 with three decimals at most; digits only: `1e2` or `0x10` is rather a slip than a wish. Throws PERCENT_INVALID. */
export function percentOf(text: string): number {
  const percent = /^\d{1,3}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN
  if (!(percent <= 100)) throw new MigrateError('PERCENT_INVALID', { value: `"${text}"` })
  return percent
}
