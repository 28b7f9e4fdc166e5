import { expect, test } from 'vitest'
import type { Block } from './block.ts'
import { SlabKeeper } from './slab-keeper.ts'

const [a, b, c] = ['a', 'b', 'c'].map((name) => Buffer.from(name)) as [Buffer, Buffer, Buffer]
const blockIn = (bytes: Buffer): Block => ({ bytes, bounds: new Int32Array(), count: 0 })

test('a buffer is free when all its blocks are done with and another one is being filled', () => {
  const free: string[] = []
  const keeper = new SlabKeeper((bytes) => free.push(bytes.toString()))
  const [first, second, third, fourth] = [a, a, b, c].map(blockIn) as [Block, Block, Block, Block]
  keeper.add(first)
  keeper.add(second)
  keeper.release([])
  expect(free).toEqual([])
  keeper.add(third)
  keeper.release([second, third])
  expect(free).toEqual([])
  keeper.release([third])
  expect(free).toEqual(['a'])
  keeper.add(fourth)
  // of a spool: not of the stream
  keeper.release([blockIn(a), third])
  expect(free).toEqual(['a'])
  keeper.release([])
  expect(free).toEqual(['a', 'b'])
})
