// Messages of pgoutput that a real server has sent: each with 4 bytes of length before it.
import { readFile } from 'node:fs/promises'

/** src/stores/postgres/pgoutput.int.test.ts records it */
export const SHOP = new URL('../../fixtures/pgoutput/shop.bin', import.meta.url)
/** src/stores/postgres/pgoutput-streaming.int.test.ts records it */
export const STREAMING = new URL('../../fixtures/pgoutput/streaming.bin', import.meta.url)

export async function readRecorded(file: URL): Promise<Buffer[]> {
  const bytes = await readFile(file)
  const messages: Buffer[] = []
  for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32BE(at)) {
    messages.push(bytes.subarray(at + 4, at + 4 + bytes.readUInt32BE(at)))
  }
  return messages
}

export function recordOf(messages: readonly Buffer[]): Buffer {
  return Buffer.concat(
    messages.flatMap((bytes) => {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(bytes.length)
      return [length, bytes]
    }),
  )
}
