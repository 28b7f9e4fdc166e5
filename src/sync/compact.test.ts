import fc from 'fast-check'
import { expect, test } from 'vitest'
import { insert, int4, relationOf, remove, show, text, truncate, update } from '../../test/support/changes.ts'
import { rawTransaction } from '../../test/support/raw.ts'
import { type Change, type Relation, type Row, TextValue, UNCHANGED, type Value } from '../model/change.ts'
import { Compactor, type Segment } from './compact.ts'
import { decodeTuple } from './pgoutput/decode.ts'
import { NET, type TableChanges } from './table-changes.ts'

const users = relationOf(1, 'users', ['id:int4*', 'name:text', 'bio:text'])
const full: Relation = { ...users, id: 2, identity: 'full' }
const keys = (): readonly number[] => [0]
const row = (id: number, name: string, bio: Value = text('b')): Row => [int4(id), text(name), bio]
const key = (id: number): Row => [int4(id), null, null]

function netOf(...changes: Change[]): string[] {
  const shown: string[] = []
  for (const segment of new Compactor(keys).compact([rawTransaction(1, changes)])) {
    shown.push(...(segment.kind === 'change' ? [`change ${segment.change.op}`] : segment.tables.flatMap(showTable)))
  }
  return shown
}

function showTable(table: TableChanges): string[] {
  const shown: string[] = []
  for (let number = 0; number < table.keys.count; number++) {
    const net = table.net(number)
    const id = table.keys.bytes.readInt32BE((table.keys.starts[number] as number) + 4)
    const name = Object.entries(NET).find(([, value]) => value === net)?.[0] ?? ''
    const hasRow = net === NET.insert || net === NET.update || net === NET.replace
    if (net !== NET.unknown) shown.push(`${name} ${id}${hasRow ? ` ${showRow(rowOf(table, number))}` : ''}`)
  }
  return shown
}

function rowOf(table: TableChanges, number: number): Row {
  const { bytes, at, end } = table.tuple(number)
  return decodeTuple(bytes.subarray(at, end))
}

function showRow(values: Row): string {
  return values
    .slice(1)
    .map((value) => (value === UNCHANGED ? '=' : show(value)))
    .join(',')
}

test.each<[string, Change[], string[]]>([
  ['the last value', [update(users, row(1, 'a')), update(users, row(1, 'b'))], ['update 1 b,b']],
  ['an insert that is updated', [insert(users, row(1, 'a')), update(users, row(1, 'b', UNCHANGED))], ['insert 1 b,b']],
  [
    'values of two updates',
    [update(users, row(1, 'a', text('x'))), update(users, row(1, 'b', UNCHANGED))],
    ['update 1 b,x'],
  ],
  [
    'a value that was never sent',
    [update(users, row(1, 'a', UNCHANGED)), update(users, row(1, 'b', UNCHANGED))],
    ['update 1 b,='],
  ],
  ['a row that came and went', [insert(users, row(1, 'a')), remove(users, key(1))], ['nothing 1']],
  [
    'a row that came, went and came',
    [insert(users, row(1, 'a')), remove(users, key(1)), insert(users, row(1, 'c'))],
    ['insert 1 c,b'],
  ],
  ['a row that was updated and went', [update(users, row(1, 'a')), remove(users, key(1))], ['delete 1']],
  ['another row in its place', [remove(users, key(1)), insert(users, row(1, 'c'))], ['replace 1 c,b']],
  [
    'another row in its place that goes',
    [remove(users, key(1)), insert(users, row(1, 'c')), remove(users, key(1))],
    ['delete 1'],
  ],
  ['another key', [update(users, row(2, 'a'), key(1))], ['delete 1', 'insert 2 a,b']],
  [
    'another key and back',
    [update(users, row(2, 'a'), key(1)), update(users, row(1, 'b'), key(2))],
    ['replace 1 b,b', 'nothing 2'],
  ],
  ['another key for a value that was not sent', [update(users, row(2, 'a', UNCHANGED), key(1))], ['change update']],
  ['another key where it may be taken', [update(full, row(2, 'a'), row(1, 'a'))], ['change update']],
  [
    'a value that only the old row has',
    [update(full, row(1, 'a', UNCHANGED), row(1, 'z', text('old')))],
    ['update 1 a,old'],
  ],
  [
    'TRUNCATE between',
    [insert(users, row(1, 'a')), truncate(users), insert(users, row(1, 'b'))],
    ['insert 1 a,b', 'change truncate', 'insert 1 b,b'],
  ],
  [
    'an insert of a row that is there',
    [insert(users, row(1, 'a')), insert(users, row(1, 'b'))],
    ['insert 1 a,b', 'change insert'],
  ],
  [
    'an update of a row that is gone',
    [remove(users, key(1)), update(users, row(1, 'b'))],
    ['delete 1', 'change update'],
  ],
  ['a value in text form', [insert(users, row(1, 'a', new TextValue(text('t'))))], ['change insert']],
])('%s', (_, changes, net) => {
  expect(netOf(...changes)).toEqual(net)
})

test('another description of a table begins a segment', () => {
  const wider = relationOf(1, 'users', ['id:int4*', 'name:text', 'bio:text', 'more:text'])
  const changes = [
    rawTransaction(1, [insert(users, row(1, 'a'))]),
    rawTransaction(2, [insert(wider, [...row(2, 'b'), text('m')])]),
  ]
  expect(Array.from(new Compactor(keys).compact(changes), ({ kind }) => kind)).toEqual(['rows', 'rows'])
})

// Against a model: a map from key to row, changed one by one. -----------------------------------------------------

type Step = {
  readonly what: 'insert' | 'update' | 'delete' | 'move' | 'truncate'
  readonly id: number
  readonly to: number
  readonly name: string
  readonly keep: boolean
}
const step = fc.record<Step>({
  what: fc.constantFrom('insert', 'update', 'update', 'delete', 'move', 'truncate'),
  id: fc.nat(20),
  to: fc.nat(20),
  name: fc.string({ maxLength: 40 }),
  keep: fc.boolean(),
})
type Model = Map<number, readonly [string, string]>

/** The changes that a source would send for those steps that it can do; `model` is what it has then. */
function changesOf(steps: readonly Step[], model: Model): Change[] {
  return steps.flatMap(({ what, id, to, name, keep }) => {
    const found = model.get(id)
    if (what === 'truncate') {
      if (id !== 0) return []
      model.clear()
      return [truncate(users)]
    }
    if ((what === 'insert') !== (found === undefined)) return []
    const bio = keep && found !== undefined ? found[1] : name.repeat(3)
    const values: Row = [
      int4(what === 'move' ? to : id),
      text(name),
      keep && found !== undefined ? UNCHANGED : text(bio),
    ]
    if (what === 'insert') return model.set(id, [name, bio]) && [insert(users, values)]
    if (what === 'update') return model.set(id, [name, bio]) && [update(users, values)]
    if (what === 'move' && model.has(to)) return []
    model.delete(id)
    if (what === 'delete') return [remove(users, key(id))]
    model.set(to, [name, bio])
    return [update(users, values, key(id))]
  })
}

function apply(model: Model, segments: Iterable<Segment>): void {
  for (const segment of segments) {
    if (segment.kind === 'rows') segment.tables.forEach((table) => applyTable(model, table))
    else applyChange(model, segment.change)
  }
}

/** Throws where the target would: a row that is missing, or in the way. */
function applyTable(model: Model, table: TableChanges): void {
  const numbers = Array.from({ length: table.keys.count }, (_, number) => number)
  const id = (number: number): number => table.keys.bytes.readInt32BE((table.keys.starts[number] as number) + 4)
  const all = (...nets: number[]): number[] => numbers.filter((number) => nets.includes(table.net(number)))
  for (const number of all(NET.delete, NET.replace)) if (!model.delete(id(number))) throw new Error('no row to delete')
  for (const number of all(NET.update)) {
    const before = model.get(id(number))
    if (before === undefined) throw new Error('no row to update')
    model.set(id(number), valuesOf(rowOf(table, number), before))
  }
  for (const number of all(NET.insert, NET.replace)) {
    if (model.has(id(number))) throw new Error('a row is in the way')
    model.set(id(number), valuesOf(rowOf(table, number), null))
  }
}

function valuesOf([, name, bio]: Row, before: readonly [string, string] | null): readonly [string, string] {
  if (bio === UNCHANGED && before === null) throw new Error('an insert without a value')
  return [show(name), bio === UNCHANGED ? (before?.[1] ?? '') : show(bio)]
}

function applyChange(model: Model, change: Change): void {
  if (change.op === 'truncate') return model.clear()
  if (change.op !== 'update') throw new Error(`${change.op} by itself`)
  const [from, to] = [change.old ?? change.row, change.row].map((values) => (values[0] as Buffer).readInt32BE())
  const before = model.get(from as number)
  model.delete(from as number)
  model.set(to as number, valuesOf(change.row, before ?? null))
}

test('any history of a table, in batches of any size, ends with the rows of the source', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(step, { minLength: 1, maxLength: 120 }), { minLength: 1, maxLength: 8 }),
      (batches) => {
        const [source, target]: [Model, Model] = [new Map(), new Map()]
        const compactor = new Compactor(keys)
        for (const [at, steps] of batches.entries()) {
          apply(target, compactor.compact([rawTransaction(at, changesOf(steps, source))]))
          expect(target).toEqual(source)
        }
      },
    ),
    { numRuns: 600, seed: 5 },
  )
})
