import type { Row } from '../../model/change.ts'
import { decodeTuple } from '../../sync/pgoutput/decode.ts'
import { NET, type Net, type TableChanges } from '../../sync/table-changes.ts'
import type { CopyRows } from './copy-rows.ts'
import { inKeyOrder } from './row-order.ts'
import type { RowWriter } from './row-writer.ts'

/** So many rows of a table are written one by one: staging them costs as much. */
const FEW = 6
/** Sets of columns that were not sent for which a table has a stage: each commit locks all of them. */
const MOST_STAGES = 12
const NONE = new Int32Array()

/**
 * Writes the net changes of one table, rows that go first, new ones last. False: an update or a delete has not found all
 * of its rows, and what was written must not stay.
 */
export async function writeTable(rows: RowWriter, table: TableChanges): Promise<boolean> {
  const { keys } = table
  const gone = numbersOf(table, NET.delete, NET.replace)
  const changed = numbersOf(table, NET.update, NET.update)
  const made = numbersOf(table, NET.insert, NET.replace)
  if (gone.length + changed.length + made.length <= FEW) return await writeFew(rows, table, { gone, changed, made })
  if (!(await removeRows(rows, table, inKeyOrder(keys, gone)))) return false
  for (const [shape] of table.shapes.entries()) {
    const some = table.shapes.length === 1 ? changed : changed.filter((number) => table.shape(number) === shape)
    const written =
      shape < MOST_STAGES
        ? await updateRows(rows, table, shape, inKeyOrder(keys, some))
        : await writeFew(rows, table, { gone: NONE, changed: some, made: NONE })
    if (!written) return false
  }
  if (made.length > 0) await rows.copy(rows.of(table.relation).copy, tuples(rows, table, made, 0))
  return true
}

async function removeRows(rows: RowWriter, table: TableChanges, numbers: Int32Array): Promise<boolean> {
  if (numbers.length === 0) return true
  const copy = rows.newRows()
  for (const number of numbers) copy.key(table.keys, number, table.keyColumns.length)
  const stage = rows.of(table.relation).stage('delete', [])
  return (await rows.runStage(stage, copy)) === numbers.length
}

async function updateRows(rows: RowWriter, table: TableChanges, shape: number, numbers: Int32Array) {
  if (numbers.length === 0) return true
  const unchanged = table.shapes[shape] ?? []
  const stage = rows.of(table.relation).stage('update', unchanged)
  return (await rows.runStage(stage, tuples(rows, table, numbers, unchanged.length))) === numbers.length
}

function tuples(rows: RowWriter, table: TableChanges, numbers: Int32Array, unchanged: number): CopyRows {
  const copy = rows.newRows()
  for (let i = 0; i < numbers.length; i++) {
    const number = numbers[i] as number
    copy.tuple(table.bytes(number), table.at(number), table.end(number), unchanged)
  }
  return copy
}

async function writeFew(
  rows: RowWriter,
  table: TableChanges,
  { gone, changed, made }: Readonly<Record<'gone' | 'changed' | 'made', Int32Array>>,
): Promise<boolean> {
  const statements = rows.of(table.relation)
  for (const number of gone) if ((await rows.run(statements.delete(keyOf(table, number)))) !== 1) return false
  for (const number of changed) {
    const update = statements.update(keyOf(table, number), rowOf(table, number))
    // null: it takes a new row, which is done in the order of the source
    if (update === null || (await rows.run(update)) !== 1) return false
  }
  for (const number of made) await rows.run(statements.insert(rowOf(table, number)))
  return true
}

/** The keys with one of two net changes. */
function numbersOf(table: TableChanges, one: Net, other: Net): Int32Array {
  const { count } = table.keys
  const numbers = new Int32Array(count)
  let found = 0
  for (let number = 0; number < count; number++) {
    const net = table.net(number)
    if (net === one || net === other) numbers[found++] = number
  }
  return numbers.subarray(0, found)
}

function rowOf(table: TableChanges, number: number): Row {
  const { bytes, at, end } = table.tuple(number)
  return decodeTuple(bytes.subarray(at, end))
}

function keyOf({ keys, keyColumns }: TableChanges, number: number): Row {
  let at = keys.starts[number] as number
  return keyColumns.map(() => {
    const length = keys.bytes.readInt32BE(at)
    const from = at + 4
    at = from + Math.max(0, length)
    return length < 0 ? null : keys.bytes.subarray(from, at)
  })
}
