import { pick } from '../../fixtures/load/random.ts'

/** What is at the edge of a length, a count or a position. */
const EDGES = [0, 1, -1, 0x7fffffff, -0x80000000, 0xffff, 0x7fff, 0x10000]

/** A copy of a message with one to three faults: bytes changed, cut off, doubled, or taken from another one. */
export function mutate(message: Buffer, others: readonly Buffer[], random: () => number): Buffer {
  let bytes = Buffer.from(message)
  for (let times = 1 + below(3, random); times > 0; times--) bytes = pick(FAULTS, random)(bytes, others, random)
  return bytes
}

type Fault = (bytes: Buffer, others: readonly Buffer[], random: () => number) => Buffer<ArrayBuffer>

const FAULTS: readonly Fault[] = [
  (bytes, _, random) =>
    changed(bytes, (copy) => copy.length > 0 && copy.writeUInt8(below(256, random), at(copy, random))),
  (bytes, _, random) => changed(bytes, (copy) => write32(copy, at(copy, random), pick(EDGES, random))),
  // where lengths and counts are
  (bytes, _, random) =>
    changed(bytes, (copy) => write32(copy, below(Math.min(copy.length, 30), random), pick(EDGES, random))),
  (bytes, _, random) => Buffer.from(bytes.subarray(0, at(bytes, random))),
  (bytes, _, random) => Buffer.concat([bytes, bytes.subarray(at(bytes, random))]),
  (bytes, others, random) =>
    Buffer.concat([bytes.subarray(0, at(bytes, random)), pick(others, random).subarray(0, 40)]),
  // another kind of message with the same body
  (bytes, others, random) => Buffer.concat([pick(others, random).subarray(0, 1), bytes.subarray(1)]),
]

function changed(bytes: Buffer, change: (copy: Buffer) => unknown): Buffer<ArrayBuffer> {
  const copy = Buffer.from(bytes)
  if (copy.length > 0) change(copy)
  return copy
}

function write32(bytes: Buffer, offset: number, value: number): void {
  if (offset + 4 <= bytes.length) bytes.writeInt32BE(value | 0, offset)
}

function at(bytes: Buffer, random: () => number): number {
  return below(bytes.length, random)
}

function below(limit: number, random: () => number): number {
  return Math.floor(random() * limit)
}
