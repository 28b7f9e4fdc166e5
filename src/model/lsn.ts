/** A PostgreSQL log sequence number: a byte position in the write-ahead log, unsigned 64 bits. */
export type Lsn = bigint & { readonly __brand: 'Lsn' }

export const ZERO_LSN = 0n as Lsn

/** Reads the `16/B374D848` text form. Throws a RangeError on anything else. */
export function parseLsn(text: string): Lsn {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text)
  if (match === null) throw new RangeError('not an LSN')
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn
}

/** The text form that PostgreSQL prints, without leading zeros. */
export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`
}

export function asLsn(value: bigint): Lsn {
  return value as Lsn
}
