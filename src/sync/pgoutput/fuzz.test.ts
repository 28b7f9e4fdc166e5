import { expect, test } from 'vitest'
import { pick, seededRandom } from '../../../fixtures/load/random.ts'
import { keyColumnsOf } from '../../../test/support/changes.ts'
import { mutate } from '../../../test/support/mutate.ts'
import { MessageTaker } from '../../../test/support/raw.ts'
import { readRecorded, SHOP, STREAMING } from '../../../test/support/recorded.ts'
import { MigrateError } from '../../errors.ts'
import { Compactor } from '../compact.ts'
import type { RawTransaction } from '../raw-transaction.ts'

// Streams of real messages with some of them damaged: whatever a server, or what is between, may send ends in
// transactions or in STREAM_MALFORMED. `npm run soak -- sync-fuzz` damages a million.

const MUTATIONS = Number(process.env['MIGRATE_FUZZ'] ?? 50_000)
const SEED = Number(process.env['MIGRATE_SEED'] ?? 7)
/** so many messages follow each other, from the start of a transaction or of a part of one */
const WINDOW = 16

test(`${MUTATIONS} damaged messages: transactions or STREAM_MALFORMED, quickly`, { timeout: 600_000 }, async () => {
  const files = (await Promise.all([SHOP, STREAMING].map(readRecorded))).map(thin)
  const random = seededRandom(SEED)
  let slowest = 0
  let refused = 0
  for (let done = 0; done < MUTATIONS; ) {
    const file = pick(files, random)
    const from = pick(startsOf(file), random)
    const stream = file.slice(from, from + WINDOW)
    const damaged = [...stream.keys()].filter(() => random() < 0.15)
    for (const i of damaged) stream[i] = mutate(stream[i] as Buffer, file, random)
    const before = tablesBefore(file, from)
    const started = performance.now()
    const taken = push([...before, ...stream])
    slowest = Math.max(slowest, performance.now() - started)
    if (taken < before.length + stream.length) refused += 1
    // what comes after a refusal was not looked at
    done += damaged.filter((i) => before.length + i <= taken).length
  }
  // faults that nobody can see are as good as none
  expect(refused).toBeGreaterThan(MUTATIONS / 10)
  expect(slowest).toBeLessThan(1_000)
})

/** How many were taken before one was refused as it should be; the number of all = none was. */
function push(stream: readonly Buffer[]): number {
  const taker = new MessageTaker()
  let taken = 0
  try {
    for (const bytes of stream) {
      read(taker.push(bytes))
      taken += 1
    }
    return taken
  } catch (error) {
    if (error instanceof MigrateError && error.code === 'STREAM_MALFORMED') return taken
    throw new Error(stream.map((bytes) => bytes.toString('hex')).join('\n'), { cause: error })
  }
}

/** In both ways in which a transaction is read. */
function read(transaction: RawTransaction | null): void {
  if (transaction === null) return
  Array.from(new Compactor(keyColumnsOf).compact([transaction]))
  expect(transaction.changes).toHaveLength(transaction.size)
}

/** Without most of its rows: what is between them gets its share of the damage. */
function thin(messages: readonly Buffer[]): Buffer[] {
  return messages.filter((bytes, i) => messages[i - 1]?.[0] !== bytes[0] || messages[i - 2]?.[0] !== bytes[0])
}

const kind = (bytes: Buffer): string => String.fromCharCode(bytes[0] ?? 0)

function startsOf(file: readonly Buffer[]): number[] {
  return [...file.keys()].filter((i) => 'BSb'.includes(kind(file[i] as Buffer)))
}

/** What the stream has told of tables before, outside of streamed parts: they tell it again. */
function tablesBefore(file: readonly Buffer[], from: number): Buffer[] {
  let streamed = false
  return file.slice(0, from).filter((bytes) => {
    if ('SE'.includes(kind(bytes))) streamed = kind(bytes) === 'S'
    return kind(bytes) === 'R' && !streamed
  })
}
