import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  int8,
  insert,
  keyColumnsOf,
  relationOf,
  remove,
  show,
  text,
  transaction,
  truncate,
  update,
} from '../../test/support/changes.ts'
import { type Change, type Row, type Transaction, UNCHANGED } from '../model/change.ts'
import { ZERO_LSN } from '../model/lsn.ts'
import { isMove, stillOwed } from './converge.ts'
import { planBatch } from './plan.ts'
import type { RowWrite } from './ports.ts'
import { Standing } from './standing.ts'

const users = relationOf(1, 'users', ['id:int8*', 'name:text', 'bio:text'])
const whole = (id: number, name: string, bio = 'bio'): Row => [int8(id), text(name), text(bio)]
const part = (id: number, name: string): Row => [int8(id), text(name), UNCHANGED]
const oldKey = (id: number): Row => [int8(id), null, null]

// A history of a few keys, and the target that the batches are written to ------------------------------------------

type State = ReadonlyMap<number, string>
const KEYS = [1, 2, 3, 4]

interface Step {
  readonly key: number
  readonly kind: 'update' | 'touch' | 'delete' | 'move' | 'carry' | 'truncate'
  readonly value: string
  readonly more: boolean
}

const step = fc.record<Step>({
  key: fc.constantFrom(...KEYS),
  kind: fc.constantFrom('update', 'touch', 'touch', 'delete', 'move', 'carry', 'truncate'),
  value: fc.integer({ min: 0, max: 999 }).map(String),
  more: fc.boolean(),
})
const schedule = fc.array(
  fc.record({
    due: fc.integer({ min: 1, max: 3 }),
    held: fc.integer({ min: 0, max: 5 }),
    wait: fc.integer({ min: 0, max: 1_500 }),
    legs: fc.array(fc.integer({ min: 0, max: 7 }), { maxLength: 3 }),
  }),
  { minLength: 1, maxLength: 20 },
)

/** The transactions of a history, and the source's state after each. */
function historyOf(steps: readonly Step[]): { log: Transaction[]; states: State[] } {
  const state = new Map<number, string>()
  const log: Transaction[] = []
  const states: State[] = [new Map()]
  let changes: Change[] = []
  for (const [i, { key, kind, value, more }] of steps.entries()) {
    changes.push(...changesOf(state, key, kind, value))
    if ((more && i < steps.length - 1) || changes.length === 0) continue
    log.push(transaction(log.length + 1, changes))
    states.push(new Map(state))
    changes = []
  }
  return { log, states }
}

function changesOf(state: Map<number, string>, key: number, kind: Step['kind'], value: string): Change[] {
  const found = state.get(key)
  const to = KEYS.find((other) => !state.has(other))
  if (kind === 'truncate' && value < '3') {
    state.clear()
    return [truncate(users)]
  }
  if (found === undefined) {
    state.set(key, `${value} b${value}`)
    return [insert(users, whole(key, value, `b${value}`))]
  }
  const bio = found.split(' ')[1] as string
  if (kind === 'delete') {
    state.delete(key)
    return [remove(users, oldKey(key))]
  }
  if ((kind === 'move' || kind === 'carry') && to !== undefined) {
    state.delete(key)
    state.set(to, kind === 'move' ? `${value} b${value}` : `${value} ${bio}`)
    return [update(users, kind === 'move' ? whole(to, value, `b${value}`) : part(to, value), oldKey(key))]
  }
  state.set(key, kind === 'update' ? `${value} b${value}` : `${value} ${bio}`)
  return [update(users, kind === 'update' ? whole(key, value, `b${value}`) : part(key, value))]
}

const idOf = (key: Row): number => Number((key[0] as Buffer).readBigInt64BE())

/** What the sink does with one write; false when an update finds no row. */
function put(target: Map<number, string>, { op, key, row }: RowWrite): boolean {
  const id = idOf(key)
  const found = target.get(id)
  if (op === 'delete') target.delete(id)
  else if (op === 'insert') target.set(id, `${show(row[1])} ${show(row[2])}`)
  else if (found === undefined) return false
  else target.set(id, `${show(row[1])} ${found.split(' ')[1]}`)
  return true
}

/** What the sink does with a change in source order. */
function replay(target: Map<number, string>, change: Change, missing: Map<number, RowWrite>): void {
  if (change.op === 'truncate') {
    target.clear()
    missing.clear()
    return
  }
  const relation = users
  if (change.op === 'delete') {
    target.delete(idOf(change.old))
    missing.delete(idOf(change.old))
    return
  }
  const op = change.row.includes(UNCHANGED) ? 'update' : 'insert'
  const written: RowWrite = { relation, op, key: change.row.slice(0, 1), row: change.row }
  if (isMove(change, [0])) {
    const old = idOf(change.old as Row)
    const moved = target.get(old)
    target.delete(old)
    missing.delete(old)
    if (moved !== undefined && op === 'update') target.set(idOf(change.row), moved)
  }
  if (put(target, written)) missing.delete(idOf(change.row))
  else missing.set(idOf(change.row), written)
}

interface Turn {
  readonly before: State
  readonly target: State
  readonly standing: Standing
  readonly done: number
  readonly received: number
  readonly writes: readonly RowWrite[]
}

/** Runs a history through batches as the schedule says; `legs` = second legs run ahead of the stream. */
function follow(
  log: Transaction[],
  turns: typeof schedule extends fc.Arbitrary<infer S> ? S : never,
  legs: boolean,
  look: (turn: Turn) => void,
) {
  const target = new Map<number, string>()
  const checkpoint = { epoch: 1, state: 'apply', commitLsn: ZERO_LSN, hold: true, graceMs: 1_000 } as const
  const standing = new Standing({ ...checkpoint, tracking: null, authorityEpoch: null, token: null })
  let [done, now, legsDone] = [0, 0, 0]
  for (let i = 0; done < log.length; i++) {
    const { due: wanted, held, wait, legs: ahead } = turns[i % turns.length] ?? { due: 1, held: 0, wait: 0, legs: [] }
    now += wait
    if (legs) for (const by of ahead) legsDone = runLeg(target, log, Math.max(legsDone, done) + by) ?? legsDone
    const due = log.slice(done, done + wanted)
    const received = Math.min(log.length, done + wanted + held)
    const before = new Map(target)
    const input = {
      checkpoint: standing.checkpoint,
      due,
      held: () => log.slice(done + wanted, received),
      skipped: standing.skipped,
      keyColumns: keyColumnsOf,
      now,
    }
    const plan = planBatch(input)
    const missing = new Map<number, RowWrite>()
    const writes = plan.kind === 'converge' ? plan.convergence.writes.map((planned) => planned.write) : []
    for (const each of writes) if (!put(target, each)) missing.set(idOf(each.key), each)
    if (plan.kind === 'replay')
      for (const change of due.flatMap(({ changes }) => changes)) replay(target, change, missing)
    const skipped = plan.kind === 'converge' ? plan.convergence.skipped : stillOwed(standing.skipped, due, keyColumnsOf)
    standing.settle(skipped, [...missing.values()], due[0]?.commitLsn ?? ZERO_LSN)
    standing.advance(due.at(-1)?.commitLsn ?? ZERO_LSN, true)
    done += due.length
    look({ before, target, standing, done, received, writes })
  }
  return { target, standing }
}

/** The service carries out a request that the monolith has carried out, before the stream brings it. */
function runLeg(target: Map<number, string>, log: Transaction[], index: number): number | null {
  if (index >= log.length) return null
  const changes = log[index]?.changes ?? []
  const refused = changes.some(
    (change) =>
      change.op === 'truncate' || isMove(change, [0]) || (change.op === 'insert' && target.has(idOf(change.row))),
  )
  if (refused) return index + 1
  for (const change of changes) replay(target, change, new Map())
  return index + 1
}

const histories = fc.array(step, { minLength: 1, maxLength: 40 })
const RUNS = { numRuns: 1_000, seed: 20_260_101 }

test('any history, cut anywhere into due and held batches, ends with the state of the source', () => {
  fc.assert(
    fc.property(histories, schedule, (steps, turns) => {
      const { log, states } = historyOf(steps)
      const { target, standing } = follow(log, turns, false, () => undefined)
      expect(Object.fromEntries(target)).toEqual(Object.fromEntries(states.at(-1) as State))
      expect(standing.skipped.size).toBe(0)
    }),
    RUNS,
  )
})

test('the same with second legs that run ahead, in their order, some of them lost', () => {
  fc.assert(
    fc.property(histories, schedule, (steps, turns) => {
      // a row that takes its TOAST value to a new key while legs write to the next row of the old one: only a
      // comparison with the monolith can find that
      const { log, states } = historyOf(steps.filter(({ kind }) => kind !== 'carry'))
      const { target, standing } = follow(log, turns, true, () => undefined)
      expect(Object.fromEntries(target)).toEqual(Object.fromEntries(states.at(-1) as State))
      expect(standing.skipped.size).toBe(0)
    }),
    RUNS,
  )
})

test('no reader is told of a position whose change a key still lacks', () => {
  fc.assert(
    fc.property(histories, schedule, (steps, turns) => {
      const { log, states } = historyOf(steps)
      follow(log, turns, false, ({ target, standing, done }) => {
        const applied = Number(standing.appliedOf(standing.checkpoint.commitLsn))
        expect(applied).toBeLessThanOrEqual(done)
        // each key shows the state at that position or a later one
        for (const key of KEYS) {
          expect(states.slice(applied).map((state) => state.get(key))).toContain(target.get(key))
        }
      })
    }),
    RUNS,
  )
})

test('a key whose newest held state is complete is never set to an older one', () => {
  fc.assert(
    fc.property(histories, schedule, (steps, turns) => {
      const { log, states } = historyOf(steps)
      follow(log, turns, false, ({ writes, target, done, received }) => {
        const held = log.slice(done, received).flatMap(({ changes }) => changes)
        if (held.some((change) => change.op === 'truncate')) return
        for (const { key } of writes) {
          const id = idOf(key)
          const newest = held.filter((c) => c.op !== 'truncate' && idsOf(c).includes(id))
          const takes = newest.some((c) => c.op === 'update' && isMove(c, [0]) && c.row.includes(UNCHANGED))
          const complete = newest.some((c) => c.op === 'insert' || (c.op === 'update' && !c.row.includes(UNCHANGED)))
          if (complete && !takes) expect(target.get(id)).toBe(states[received]?.get(id))
        }
      })
    }),
    RUNS,
  )
})

function idsOf(change: Exclude<Change, { op: 'truncate' }>): number[] {
  if (change.op === 'delete') return [idOf(change.old)]
  return change.op === 'update' && change.old !== null ? [idOf(change.row), idOf(change.old)] : [idOf(change.row)]
}
