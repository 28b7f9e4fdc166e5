// Tables of any make that the sync takes, for property tests: how they are drawn, how they are created.
import fc from 'fast-check'

export type KeyType = 'int' | 'bigint' | 'text' | 'uuid' | 'identity'
export type ColumnType = 'int' | 'text' | 'numeric' | 'jsonb' | 'bytea' | 'text[]' | 'timestamptz' | 'mood' | 'big'

export interface RandomTable {
  /** columns k0, k1; an identity is generated always */
  readonly keys: readonly KeyType[]
  /** columns c0, c1, …; big = text that is stored out of line, uncompressed */
  readonly columns: readonly ColumnType[]
  /** a nullable column u with unique values */
  readonly unique: 'none' | 'immediate' | 'deferrable'
  /** index: over the key and a column r besides; with a deferrable key only full is possible */
  readonly identity: 'default' | 'index' | 'full'
  readonly keyDeferrable: boolean
  /** a column g, generated always as identity, beside the key */
  readonly numbered: boolean
}

const keyTypes: fc.Arbitrary<readonly KeyType[]> = fc.oneof(
  { weight: 1, arbitrary: fc.constant(['identity'] as const) },
  {
    weight: 5,
    arbitrary: fc.array(fc.constantFrom<KeyType>('int', 'bigint', 'text', 'uuid'), { minLength: 1, maxLength: 2 }),
  },
)

const table: fc.Arbitrary<RandomTable> = fc
  .record({
    keys: keyTypes,
    columns: fc.array(
      fc.constantFrom<ColumnType>(
        ...(['int', 'text', 'numeric', 'jsonb', 'bytea', 'text[]', 'timestamptz', 'mood', 'big', 'big'] as const),
      ),
      { minLength: 0, maxLength: 4, size: 'max' },
    ),
    unique: fc.constantFrom('none', 'immediate', 'deferrable'),
    identity: fc.constantFrom('default', 'index', 'full'),
    keyDeferrable: fc.boolean(),
    numbered: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
  })
  .map((drawn) => ({
    ...drawn,
    keyDeferrable: drawn.keyDeferrable && drawn.identity === 'full',
    numbered: drawn.numbered && !drawn.keys.includes('identity'),
  }))

export const randomTables: fc.Arbitrary<readonly RandomTable[]> = fc.array(table, { minLength: 1, maxLength: 3 })

export function tableName(schema: string, index: number): string {
  return `${schema}.t${index}`
}

/** For both sides alike. */
export function createTables(schema: string, tables: readonly RandomTable[]): string {
  return [
    `create schema ${schema}; create type ${schema}.mood as enum ('good', 'so-so', 'bad')`,
    ...tables.map((spec, i) => createTable(schema, tableName(schema, i), spec)),
  ].join(';\n')
}

const TYPES: Partial<Record<KeyType | ColumnType, string>> = {
  identity: 'bigint generated always as identity',
  big: 'text',
}

function createTable(schema: string, name: string, spec: RandomTable): string {
  const type = (of: KeyType | ColumnType): string => (of === 'mood' ? `${schema}.mood` : (TYPES[of] ?? of))
  const keys = keyNames(spec)
  const parts = [
    // the key is not always in front
    ...spec.columns.slice(0, 1).map((of) => `c0 ${type(of)}`),
    ...spec.keys.map((of, i) => `k${i} ${type(of)}`),
    ...spec.columns.slice(1).map((of, i) => `c${i + 1} ${type(of)}`),
    ...(spec.unique === 'none' ? [] : [`u int unique ${spec.unique === 'deferrable' ? 'deferrable' : ''}`]),
    ...(spec.identity === 'index' ? ['r int not null default 0'] : []),
    ...(spec.numbered ? ['g bigint generated always as identity'] : []),
    `primary key (${keys.join(', ')}) ${spec.keyDeferrable ? 'deferrable' : ''}`,
  ]
  const index = name.replace('.', '_')
  const identity = {
    default: [],
    full: [`alter table ${name} replica identity full`],
    index: [
      `create unique index ${index} on ${name} (${[...keys, 'r'].join(', ')})`,
      `alter table ${name} replica identity using index ${index}`,
    ],
  }
  const external = spec.columns.flatMap((of, i) => (of === 'big' ? [`alter c${i} set storage external`] : []))
  return [
    `create table ${name} (${parts.join(', ')})`,
    ...external.map((change) => `alter table ${name} ${change}`),
    ...identity[spec.identity],
  ].join(';\n')
}

export function keyNames({ keys }: RandomTable): string[] {
  return keys.map((_, i) => `k${i}`)
}

/** One of few values, so that keys are met again. */
export function keyValue(type: KeyType, n: number): string {
  switch (type) {
    case 'identity':
      return 'default'
    case 'int':
    case 'bigint':
      return type === 'bigint' && n === 3 ? '-9223372036854775808' : String(n)
    case 'text':
      return n === 3 ? `''` : `'k ${n} ü'`
    case 'uuid':
      return `md5('${n}')::uuid`
  }
}

/** The SQL of a value; some are null, some at the edges of their type. */
export function columnValue(type: ColumnType, n: number): string {
  if (n % 7 === 0) return 'null'
  return EDGES[type][n % 11] ?? plainValue(type, n)
}

/** By the remainder of the number, in the place of a plain value. */
const EDGES: Readonly<Record<ColumnType, Readonly<Record<number, string>>>> = {
  int: { 1: '-2147483648' },
  text: { 1: `''`, 2: `E'a\\tb\\\\N\\n"山"'` },
  numeric: { 1: `'NaN'`, 2: '1e-30', 3: '-0.00', 4: '123456789012345678901234567890.5' },
  jsonb: { 1: `'null'`, 2: `'{"a": [1.50, null, "x"]}'` },
  bytea: { 1: `''`, 2: `'\\x00ff5c'` },
  'text[]': { 1: `'{}'`, 2: `array['a', null, '', 'b "c", {d}']`, 3: `'[2:3]={x,y}'` },
  timestamptz: { 1: `'infinity'`, 2: `'0044-03-15 12:00:00.000001+00 BC'` },
  mood: {},
  // short enough to be stored in the row
  big: { 1: `'small'` },
}

function plainValue(type: ColumnType, n: number): string {
  switch (type) {
    case 'int':
      return String(n * 7_919 - 3_000_000)
    case 'text':
      return `'text ${n}'`
    case 'numeric':
      return `${n}.${n}0`
    case 'jsonb':
      return `'{"n": ${n}}'`
    case 'bytea':
      return `decode(md5('${n}'), 'hex')`
    case 'text[]':
      return `array['${n}', 'x']`
    case 'timestamptz':
      return `timestamptz '2026-01-01 00:00:00.123456+00' + ${n} * interval '1 hour'`
    case 'mood':
      return ['good', 'so-so', 'bad'].map((mood) => `'${mood}'`)[n % 3] ?? ''
    case 'big':
      return `repeat(md5('${n}'), ${80 + (n % 150)})`
  }
}
