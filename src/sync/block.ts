/** A run of pgoutput messages in one buffer that nobody changes any more. */
export interface Block {
  readonly bytes: Buffer
  /** where message i begins and ends: `bounds[2 * i]` and `bounds[2 * i + 1]` */
  readonly bounds: Int32Array
  readonly count: number
  /** its buffer may be used again: nobody reads the block any more */
  readonly release?: () => void
}

/** The messages one after the other in a buffer of their own. */
export function blockOf(messages: readonly Buffer[]): Block {
  const bounds = new Int32Array(messages.length * 2)
  let at = 0
  for (const [i, { length }] of messages.entries()) {
    bounds[2 * i] = at
    at += length
    bounds[2 * i + 1] = at
  }
  return { bytes: Buffer.concat(messages), bounds, count: messages.length }
}
