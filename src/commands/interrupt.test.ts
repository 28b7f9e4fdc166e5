import { EventEmitter } from 'node:events'
import { describe, expect, test } from 'vitest'
import { watchInterrupts } from './interrupt.ts'

describe('watchInterrupts', () => {
  test('the first ^C aborts and says how to stop at once', () => {
    const { proc, interrupts, said } = watch()
    proc.emit('SIGINT')
    expect(interrupts.signal.aborted).toBe(true)
    expect(interrupts.code).toBe(130)
    expect(said).toEqual([expect.stringContaining('^C again within 3 s')])
    expect(proc.exits).toEqual([])
  })

  test('a second ^C within 3 s ends the process', () => {
    const { proc, clock } = watch()
    proc.emit('SIGINT')
    clock.now += 2_999
    proc.emit('SIGINT')
    expect(proc.exits).toEqual([130])
  })

  test('a later ^C warns again', () => {
    const { proc, clock, said } = watch()
    proc.emit('SIGINT')
    clock.now += 3_000
    proc.emit('SIGINT')
    expect(proc.exits).toEqual([])
    expect(said).toHaveLength(2)
  })

  test('SIGTERM aborts with 143, however often it comes; the first cause counts', () => {
    const { proc, interrupts } = watch()
    proc.emit('SIGTERM')
    proc.emit('SIGTERM')
    proc.emit('SIGINT')
    expect(interrupts.code).toBe(143)
    expect(proc.exits).toEqual([])
  })

  test('a closed stdout stops the command without a failure; other errors do not', () => {
    const { proc, interrupts } = watch()
    proc.stdout.emit('error', Object.assign(new Error('no space'), { code: 'ENOSPC' }))
    expect(interrupts.signal.aborted).toBe(false)
    proc.stdout.emit('error', Object.assign(new Error('broken pipe'), { code: 'EPIPE' }))
    expect(interrupts.signal.aborted).toBe(true)
    expect(interrupts.code).toBe(0)
  })

  test('a closed stderr is no reason to stop', () => {
    const { proc, interrupts } = watch()
    proc.stderr.emit('error', Object.assign(new Error('broken pipe'), { code: 'EPIPE' }))
    expect(interrupts.signal.aborted).toBe(false)
  })

  test('lets go of the signals at the end', () => {
    const { proc, interrupts } = watch()
    interrupts[Symbol.dispose]()
    expect(proc.listenerCount('SIGINT') + proc.listenerCount('SIGTERM')).toBe(0)
  })
})

class Process extends EventEmitter {
  readonly stdout = new EventEmitter()
  readonly stderr = new EventEmitter()
  readonly exits: number[] = []
  exit(code: number): void {
    this.exits.push(code)
  }
}

function watch() {
  const proc = new Process()
  const clock = { now: 1_000 }
  const said: string[] = []
  const interrupts = watchInterrupts(
    proc,
    (line) => said.push(line),
    () => clock.now,
  )
  return { proc, interrupts, clock, said }
}
