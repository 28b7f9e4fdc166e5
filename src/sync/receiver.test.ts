import { expect, test } from 'vitest'
import { asLsn, type Lsn, ZERO_LSN } from '../model/lsn.ts'
import { memoryFile } from '../../test/support/raw.ts'
import { blockOf } from './block.ts'
import type { WalBlock, WalStream } from './ports.ts'
import { Receiver } from './receiver.ts'

type Frame = { readonly kind: 'message'; readonly bytes: Buffer } | { readonly kind: 'keepalive'; readonly walEnd: Lsn }
/** As the connection gives them: a keepalive counts when nothing follows it. */
function walBlock(frames: readonly Frame[]): WalBlock {
  const last = frames.at(-1)
  const messages = frames.flatMap((frame) => (frame.kind === 'message' ? [frame.bytes] : []))
  return { ...blockOf(messages), walEnd: last?.kind === 'keepalive' ? last.walEnd : null }
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const u64 = (value: number): string => value.toString(16).padStart(16, '0')
const message = (bytes: Buffer): Frame => ({ kind: 'message', bytes })
const keepalive = (at: number): Frame => ({ kind: 'keepalive', walEnd: asLsn(BigInt(at)) })
const begin = (final: number): Frame => message(hex(`42 ${u64(final)} ${u64(0)} 00000309`))
const commit = (at: number): Frame => message(hex(`43 00 ${u64(at)} ${u64(at + 1)} ${u64(0)}`))
const relation = message(hex('52 00004001 7075626c696300 7500 64 0001 01 696400 00000019 ffffffff'))
const note = (prefix: string, content: string): Frame =>
  message(
    Buffer.concat([
      hex(`4d 01 ${u64(0)}`),
      Buffer.from(`${prefix}\0`),
      hex(content.length.toString(16).padStart(8, '0')),
      Buffer.from(content),
    ]),
  )
function insertOf(size: number): Frame {
  const head = hex('49 00004001 4e 0001 62 00000000')
  head.writeInt32BE(size, head.length - 4)
  return message(Buffer.concat([head, Buffer.alloc(size)]))
}

/** A stream whose frames are pulled; says how often it was. */
class MemoryStream implements WalStream {
  pulls = 0
  recycled = 0
  closed = false
  readonly #batches: readonly (readonly Frame[])[]
  readonly #end: Error | null
  #close: () => void = () => undefined

  constructor(batches: readonly (readonly Frame[])[], end: Error | null = null) {
    this.#batches = batches
    this.#end = end
  }

  async *blocks(): AsyncGenerator<WalBlock> {
    for (const batch of this.#batches) {
      this.pulls++
      yield walBlock(batch)
    }
    if (this.#end !== null) throw this.#end
    await new Promise<void>((resolve) => {
      this.#close = resolve
      if (this.closed) resolve()
    })
  }

  acknowledge(): void {
    throw new Error('only what is durable is acknowledged')
  }
  recycle(bytes: Buffer): void {
    this.recycled += 1
    bytes.fill(0)
  }
  askPosition(): void {
    throw new Error('not asked')
  }
  [Symbol.asyncDispose](): Promise<void> {
    this.closed = true
    this.#close()
    return Promise.resolve()
  }
}

/** Starts a receiver and waits until it has told `times` news. */
async function receive(stream: WalStream, times: number): Promise<Receiver> {
  let told = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  const news = (): void => {
    if (++told === times) resolve()
  }
  const receiver = new Receiver({
    service: 'users',
    stream,
    from: ZERO_LSN,
    openSpool: memoryFile,
    apart: () => true,
    news,
  })
  receiver.start()
  await promise
  return receiver
}

test('the position of a keepalive counts outside of transactions only', async () => {
  const positions: bigint[] = []
  for (const frames of [
    [keepalive(5)],
    [begin(10), keepalive(9)],
    [begin(10), keepalive(9), commit(10)],
    [begin(10), commit(10), keepalive(20)],
  ]) {
    const receiver = await receive(new MemoryStream([frames]), 1)
    positions.push(receiver.received)
    expect(receiver.isIdle).toBe(frames[0]?.kind === 'keepalive')
    await receiver.close()
  }
  expect(positions).toEqual([5n, 0n, 11n, 20n])
})

test('an apply of ours waits as an empty transaction, so that its position counts', async () => {
  const ours = [begin(1), note('migrate.apply', 'users forward 1'), relation, insertOf(1), commit(1)]
  const theirs = [begin(2), note('migrate.apply', 'orders forward 1'), insertOf(1), commit(2)]
  const receiver = await receive(new MemoryStream([[...ours, ...theirs]]), 1)
  expect(receiver.queue.map(({ transaction }) => [transaction.commitLsn, transaction.changes.length])).toEqual([
    [2n, 0],
    [3n, 1],
  ])
  await receiver.close()
})

test('pulls no more while 8 MiB wait, and goes on when they are gone', async () => {
  const batch = (at: number): Frame[] => [begin(at), insertOf(5 * 1024 * 1024), commit(at)]
  const stream = new MemoryStream([[relation], batch(1), batch(2), batch(3)])
  const receiver = await receive(stream, 3)
  await new Promise((resolve) => setImmediate(resolve))
  expect([stream.pulls, receiver.queue.length]).toEqual([3, 2])
  receiver.drop(1)
  while (receiver.queue.length < 2) await new Promise((resolve) => setImmediate(resolve))
  expect(stream.pulls).toBe(4)
  // those before the one that still waits
  expect(stream.recycled).toBe(2)
  expect(receiver.queue.map(({ transaction }) => transaction.changes.length)).toEqual([1, 1])
  await receiver.close()
  expect(receiver.ended).toEqual({ error: null })
})

test('what has gone into a spool is not kept besides', async () => {
  const [start, stop] = [message(hex('53 00000309 01')), message(hex('45'))]
  const streamed = (): Frame => message(hex(`49 00000309 00004001 4e 0001 62 00000001 07`))
  const stream = new MemoryStream([[start, streamed()], [streamed()], [streamed(), stop], [keepalive(9)]])
  const receiver = await receive(stream, 4)
  expect([receiver.queue.length, stream.recycled]).toEqual([0, 3])
  await receiver.close()
})

test('closing ends a receiver that waits for room', async () => {
  const stream = new MemoryStream([[relation, begin(1), insertOf(9 * 1024 * 1024), commit(1)], [keepalive(9)]])
  const receiver = await receive(stream, 1)
  await receiver.close()
  expect(stream.closed).toBe(true)
})

test.each([
  ['a message that cannot be', new MemoryStream([[begin(1), message(hex('7a'))]]), { code: 'STREAM_MALFORMED' }],
  ['a connection that is lost', new MemoryStream([[begin(1)]], new Error('lost')), { message: 'lost' }],
])('%s is kept for whoever asks, and thrown at nobody', async (_, stream, error) => {
  const receiver = await receive(stream, 1)
  while (receiver.ended === null) await new Promise((resolve) => setImmediate(resolve))
  expect(receiver.ended?.error).toMatchObject(error)
  await receiver.close()
})
