import { expect, test } from 'vitest'
import { Doubts } from './doubts.ts'

test('an entity is in doubt for a while after its last unanswered leg', () => {
  const doubts = new Doubts(100)
  doubts.note('a', 0)
  doubts.note('b', 10)
  doubts.note('a', 50)
  expect([doubts.has('a', 149), doubts.has('a', 150)]).toEqual([true, false])
  expect([doubts.has('b', 109), doubts.has('b', 110), doubts.has('c', 0)]).toEqual([true, false, false])
  doubts.note('c', 200)
  expect([doubts.has('a', 50), doubts.has('b', 20), doubts.has('c', 299)]).toEqual([false, false, true])
})
