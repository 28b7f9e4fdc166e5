import { expect, test } from 'vitest'
import { InTurn } from './in-turn.ts'

test('tasks of one name run one at a time in order, other names do not wait, a failure stops nobody', async () => {
  const inTurn = new InTurn()
  const done: string[] = []
  const free: (() => void)[] = []
  const blocked = inTurn.run('a', () =>
    new Promise<void>((resolve) => free.push(resolve)).then(() => void done.push('a1')),
  )
  const failing = inTurn.run('a', () => Promise.reject(new Error('no')))
  const last = inTurn.run('a', async () => void done.push('a3'))
  await inTurn.run('b', async () => void done.push('b'))
  expect(done).toEqual(['b'])
  for (const go of free) go()
  await blocked
  await expect(failing).rejects.toThrow('no')
  await last
  expect(done).toEqual(['b', 'a1', 'a3'])
})
