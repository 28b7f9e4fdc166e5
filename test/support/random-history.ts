// What an application may do to random tables: drawn as numbers, turned into SQL against the rows that are there.
import fc from 'fast-check'
import type pg from 'pg'
import { columnValue, keyNames, keyValue, type RandomTable, tableName } from './random-schema.ts'

export const KINDS = [
  ...(['insert', 'insert', 'insert', 'insertMany', 'insertMany', 'update', 'update', 'update', 'updateMany'] as const),
  ...(['changeKey', 'changeKey', 'shiftKeys', 'swapKeys', 'swapUnique', 'swapUnique', 'passUnique'] as const),
  ...(['delete', 'deleteMany', 'again', 'again', 'truncate', 'flood'] as const),
]
export type Kind = (typeof KINDS)[number]

export interface Deed {
  readonly kind: Kind
  readonly table: number
  /** which of the rows that are there, by their rank */
  readonly row: number
  readonly key: number
  readonly value: number
  /** taken back by a savepoint */
  readonly undone: boolean
}

export interface RandomTransaction {
  readonly deeds: readonly Deed[]
  readonly commit: boolean
  /** carries a token of the service, which makes it a batch of its own */
  readonly alone: boolean
}

/** What the worker does while, or after, these transactions are made. */
export interface Episode {
  readonly transactions: readonly RandomTransaction[]
  /** live: it follows as they come; behind: it is started when all are there; off: it is not */
  readonly worker: 'live' | 'behind' | 'off'
  /** it dies at so many failpoints, or is stopped there in order; none = it does not */
  readonly end: { readonly kind: 'die' | 'stop'; readonly after: number } | null
}

const deed: fc.Arbitrary<Deed> = fc.record({
  kind: fc.constantFrom(...KINDS),
  table: fc.nat(2),
  row: fc.nat(9),
  key: fc.nat(11),
  value: fc.nat(999),
  undone: fc.integer({ min: 0, max: 7 }).map((n) => n === 7),
})

const transaction: fc.Arbitrary<RandomTransaction> = fc.record({
  deeds: fc.array(deed, { minLength: 1, maxLength: 8, size: 'max' }),
  commit: fc.integer({ min: 0, max: 9 }).map((n) => n < 9),
  alone: fc.integer({ min: 0, max: 2 }).map((n) => n === 2),
})

export const randomEpisodes: fc.Arbitrary<readonly Episode[]> = fc.array(
  fc.record({
    transactions: fc.array(transaction, { minLength: 1, maxLength: 7, size: 'max' }),
    worker: fc.constantFrom('live', 'behind', 'behind', 'off'),
    end: fc.option(fc.record({ kind: fc.constantFrom('die', 'stop'), after: fc.constantFrom(0, 0, 1, 1, 2, 4, 7) }), {
      freq: 3,
    }),
  }),
  { minLength: 1, maxLength: 4, size: 'max' },
)

export interface Place {
  readonly client: pg.Client
  readonly schema: string
  readonly tables: readonly RandomTable[]
}

/** A few rows in each table, to begin with. */
export function firstRows(tables: readonly RandomTable[]): RandomTransaction {
  const row = { kind: 'insertMany', row: 1, key: 0, undone: false } as const
  return { deeds: tables.map((_, i) => ({ ...row, table: i, value: 11 + i })), commit: true, alone: false }
}

/** Returns the deeds that have changed rows; what the server refuses (a key that exists) its savepoint takes back. */
export async function carryOut(place: Place, { deeds, commit, alone }: RandomTransaction): Promise<Kind[]> {
  const { client } = place
  const done: Kind[] = []
  await client.query('begin')
  for (const each of deeds) {
    await client.query('savepoint deed')
    const outcome = await attempt(place, each)
    await client.query(outcome === 'refused' || each.undone ? 'rollback to deed' : 'release deed')
    if (outcome === 'done' && commit && !each.undone) done.push(each.kind)
  }
  if (alone) await client.query(`select pg_logical_emit_message(true, 'migrate.token', 'users 0 alone')`)
  await client.query(commit ? 'commit' : 'rollback')
  return done
}

async function attempt(place: Place, each: Deed): Promise<'done' | 'nothing' | 'refused'> {
  let rows = 0
  try {
    for (const sql of statements(place, each)) {
      const { rowCount, command } = await place.client.query(sql)
      rows += command === 'TRUNCATE' || command === 'DO' ? 1 : (rowCount ?? 0)
    }
    return rows > 0 ? 'done' : 'nothing'
  } catch (error) {
    // a key or a unique value that exists
    if ((error as { code?: string }).code === '23505') return 'refused'
    throw error
  }
}

function statements({ schema, tables }: Place, each: Deed): string[] {
  const index = each.table % tables.length
  const spec = tables[index] as RandomTable
  const name = tableName(schema, index)
  return STATEMENTS[each.kind]({
    ...{ name, spec, each, keys: keyNames(spec), ranks: [each.row, each.key] },
    all: tables.map((_, i) => tableName(schema, i)).join(', '),
  })
}

interface Target {
  readonly name: string
  readonly spec: RandomTable
  readonly each: Deed
  readonly keys: readonly string[]
  /** two rows */
  readonly ranks: readonly [number, number]
  /** the names of all tables */
  readonly all: string
}

const STATEMENTS: Readonly<Record<Kind, (target: Target) => string[]>> = {
  insert: (target) => [insert(target, 1)],
  insertMany: (target) => [insert(target, 5)],
  update: (target) => update(target, someColumns(target), here(target)),
  updateMany: (target) => update(target, someColumns(target), first(target, 4)),
  // half of them with other columns, half with nothing else, so that big values are not sent
  changeKey: (target) =>
    update(target, [...newKey(target), ...(target.each.value % 2 === 0 ? someColumns(target) : [])], here(target)),
  shiftKeys: (target) => (/int/.test(target.spec.keys[0] ?? '') ? update(target, ['k0 = k0 + 1'], 'k0 >= 0') : []),
  swapKeys: (target) => (target.spec.keys[0] === 'identity' ? [] : swap(target, 'k0')),
  swapUnique(target) {
    if (target.spec.unique === 'none') return []
    return target.spec.unique === 'immediate' ? swapInSteps(target) : swap(target, 'u')
  },
  passUnique: (target) => (target.spec.unique === 'none' ? [] : passUnique(target)),
  delete: (target) => [`delete from ${target.name} where ${here(target)}`],
  deleteMany: (target) => [`delete from ${target.name} where ${first(target, 3)}`],
  again: (target) => [again(target)],
  truncate({ name, each, all }) {
    return [`truncate ${each.row % 3 === 0 ? all : name} ${each.value % 2 === 0 ? 'restart identity' : ''}`]
  },
  flood: (target) => [flood(target)],
}

function update({ name }: Target, assignments: readonly string[], where: string): string[] {
  return assignments.length === 0 ? [] : [`update ${name} set ${assignments.join(', ')} where ${where}`]
}

function here(target: Target): string {
  return `ctid = ${ranked(target, 'ctid', target.each.row)}`
}

function first({ name, keys }: Target, count: number): string {
  return `ctid = any(array(select ctid from ${name} order by ${keys.join(', ')} limit ${count}))`
}

/** A column of the row with this rank, counted round and round. */
function ranked({ name, keys }: Target, column: string, rank: number): string {
  return `(select ${column} from ${name} order by ${keys.join(', ')} offset ${rank} % (select greatest(count(*), 1) from ${name}) limit 1)`
}

function insert({ name, spec, each }: Target, count: number): string {
  const columns = [...keyNames(spec), ...spec.columns.map((_, i) => `c${i}`), ...(spec.unique === 'none' ? [] : ['u'])]
  const rows = Array.from({ length: count }, (_, n) => {
    const keys = spec.keys.map((type, i) => keyValue(type, (each.key + n + i * each.row) % 12))
    const values = spec.columns.map((type, i) => columnValue(type, each.value + n + i))
    const unique = spec.unique === 'none' ? [] : [n + each.value > 900 ? 'null' : String((each.value + n) % 40)]
    return `(${[...keys, ...values, ...unique].join(', ')})`
  })
  const skip = spec.keyDeferrable || spec.unique === 'deferrable' ? '' : 'on conflict do nothing'
  return `insert into ${name} (${columns.join(', ')}) values ${rows.join(', ')} ${count > 1 ? skip : ''}`
}

/** More rows than anything else here, for what the sink does with many. */
function flood({ name, spec, each: { value } }: Target): string {
  const keys = spec.keys.map((type) => {
    if (type === 'text') return `'flood ' || i`
    if (type === 'uuid') return `md5('flood ' || i)::uuid`
    return type === 'identity' ? '1000000 + i' : '1000 + i'
  })
  const values = spec.columns.map((type, i) => (type === 'big' ? `'small ' || i` : columnValue(type, value + i)))
  const columns = [...keyNames(spec), ...spec.columns.map((_, i) => `c${i}`)]
  return `insert into ${name} (${columns.join(', ')}) overriding system value
    select ${[...keys, ...values].join(', ')} from generate_series(${value}, ${value} + 250) i`
}

/** Some of the columns, by the bits of a number; the rest is not touched. */
function someColumns({ spec, each: { value, row } }: Target): string[] {
  const chosen = spec.columns.flatMap((type, i) =>
    ((value >> i) & 1) === 1 ? [`c${i} = ${columnValue(type, value + i + row)}`] : [],
  )
  return [
    ...chosen,
    ...(spec.identity === 'index' && value % 3 === 0 ? [`r = ${row}`] : []),
    ...(spec.numbered && value % 5 === 0 ? ['g = default'] : []),
  ]
}

function newKey({ spec, each: { key, row } }: Target): string[] {
  return spec.keys.map((type, i) => `k${i} = ${keyValue(type, (key + i * row) % 12)}`)
}

/** Two rows change their values: in one statement where the constraint is deferrable, else with a step in between. */
function swap(target: Target, column: string): string[] {
  const { name, ranks } = target
  const [a, b] = ranks.map((rank) => ranked(target, column, rank))
  return [
    `with pair as materialized (select ${a} as a, ${b} as b)
     update ${name} set ${column} = case when ${column} = a then b else a end from pair where ${column} in (a, b) and a <> b`,
  ]
}

function swapInSteps(target: Target): string[] {
  const { name, ranks } = target
  return [
    `do $do$ declare a int; b int; begin
      a := ${ranked(target, 'u', ranks[0])}; b := ${ranked(target, 'u', ranks[1])};
      if a <> b then
        update ${name} set u = 5000 where u = a; update ${name} set u = a where u = b; update ${name} set u = b where u = 5000;
      end if; end $do$`,
  ]
}

/** A unique value goes from one row to another, which gives its own back: three statements, no constraint in the way. */
function passUnique(target: Target): string[] {
  const { name, ranks } = target
  const { value } = target.each
  const free = 1_000 + value
  return [
    `update ${name} set u = ${free} where ctid = ${ranked(target, 'ctid', ranks[0])}`,
    `update ${name} set u = ${value % 40} where ctid = ${ranked(target, 'ctid', ranks[1])}`,
    `update ${name} set u = ${(value + 1) % 40} where u = ${free}`,
  ]
}

/** Deletes a row and makes one with the same key, with values of its own. */
function again(target: Target): string {
  const { name, spec, keys, each } = target
  const columns = spec.columns.map((_, i) => `c${i}`)
  const values = spec.columns.map((type, i) => columnValue(type, each.value + i))
  const always = spec.keys.includes('identity') ? 'overriding system value' : ''
  return `do $do$ declare old ${name}%rowtype; begin
    delete from ${name} where ctid = ${ranked(target, 'ctid', each.row)} returning * into old;
    if found then
      insert into ${name} (${[...keys, ...columns].join(', ')}) ${always} values (${[...keys.map((key) => `old.${key}`), ...values].join(', ')});
    end if; end $do$`
}
