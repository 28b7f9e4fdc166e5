import xxhash from 'xxhash-wasm'

/** Buckets are thousandths of a percent. */
export const BUCKETS = 100_000
/** Part of the contract with the HAProxy engine: changing it moves every user. */
export const SEED = 7

const { h32, h32Raw } = await xxhash()

/**
 * The bucket of a sticky key, 0 to 99,999: xxh32(key, 7) mod 100000 over the bytes of the header, as HAProxy's
 * `xxh32(7),mod(100000)` computes it.
 */
export function bucketOf(key: string): number {
  // Node decodes header bytes as latin1; hashing the UTF-8 of that would give other buckets than the raw bytes.
  const hash = isAscii(key) ? h32(key, SEED) : h32Raw(Buffer.from(key, 'latin1'), SEED)
  return hash % BUCKETS
}

/** True for the given share of the buckets; a bucket that is inside stays inside as the percentage grows. */
export function inside(bucket: number, percent: number): boolean {
  return bucket < Math.round(percent * (BUCKETS / 100))
}

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false
  return true
}
