import { MigrateError } from '../errors.ts'
import { handleChunk } from './chunk.ts'
import type { Context } from './context.ts'
import { type Claim, claimPartition } from './offsets.ts'
import type { Fetched, Group, Onward, Reader } from './ports.ts'

/** Records that were read are handled for so long, milliseconds, before other partitions get their turn. */
const TURN = 5_000
/** After losing a partition: by then Kafka has told who of us is not in the group any more. */
const LOST_PAUSE = 4_000
/** Until somebody has looked after an offset that is not in the log. */
const STUCK_PAUSE = 30_000
const LONGEST_PAUSE = 30_000

/** Handles what the group reads, partition by partition. Where it goes on our own offsets say. */
export function partitionReader(context: Context, group: Pick<Group, 'firstOffset'>): Reader {
  const states = new Map<string, State>()
  return async (fetched, over) => {
    const place = `${fetched.topic}/${fetched.partition}`
    const state = states.get(place) ?? { claim: null, generation: -1, failures: 0 }
    states.set(place, state)
    try {
      const onward = await readOn(context, group, { state, fetched, over })
      return onward
    } catch (error) {
      return waitOut(context, { state, fetched }, error as Error)
    }
  }
}

interface State {
  claim: Claim | null
  generation: number
  /** pauses in a row */
  failures: number
}

async function readOn(
  context: Context,
  group: Pick<Group, 'firstOffset'>,
  { state, fetched, over }: { readonly state: State; readonly fetched: Fetched; readonly over: () => boolean },
): Promise<Onward> {
  if (state.claim === null || state.generation !== fetched.generation) {
    state.claim = await claimPartition(context.pool, context.consumer, fetched)
    state.generation = fetched.generation
  }
  // of its own, so that what goes on in here after a rebalance cannot use the claim of the next one
  let claim = state.claim
  const next = claim.next ?? fetched.from
  if (next > fetched.end) throw notInLog(claim, next, { first: fetched.from, end: fetched.end })
  if (fetched.from > next && !fetched.contiguous) {
    const first = await group.firstOffset(fetched.topic, fetched.partition)
    if (first > next) throw notInLog(claim, next, { first, end: fetched.end })
    return { next }
  }
  const records = fetched.records.filter(({ offset }) => offset >= next)
  if (fetched.to <= next) return { next }
  const until = performance.now() + TURN
  for (let at = 0; at === 0 || at < records.length; at += context.batch) {
    if (at > 0 && (over() || performance.now() > until)) break
    const chunk = records.slice(at, at + context.batch)
    const to = at + context.batch < records.length ? (chunk.at(-1)?.offset ?? 0n) + 1n : fetched.to
    await handleChunk(context, claim, chunk, to)
    claim = { ...claim, next: to }
    // not when a later generation has claimed meanwhile
    if (state.claim.epoch === claim.epoch) state.claim = claim
    state.failures = 0
  }
  return { next: claim.next ?? fetched.to }
}

function notInLog(claim: Claim, offset: bigint, { first, end }: { readonly first: bigint; readonly end: bigint }) {
  const { consumer, topic, partition } = claim
  const place = { consumer, topic, partition, offset: String(offset), first: String(first), end: String(end) }
  return new MigrateError('OFFSET_NOT_IN_LOG', place)
}

/** Nothing of what failed was written: it is read again after a while, as long as it takes. */
function waitOut(
  { trouble }: Context,
  { state, fetched }: { readonly state: State; readonly fetched: Fetched },
  error: Error,
): Onward {
  const next = state.claim?.next ?? fetched.from
  const code = error instanceof MigrateError ? error.code : ''
  if (code === 'PARTITION_LOST') {
    state.claim = null
    return { next, pause: LOST_PAUSE }
  }
  trouble(error)
  if (code === 'OFFSET_NOT_IN_LOG') {
    // read again from the database: somebody may have mended it
    state.claim = null
    return { next: fetched.from, pause: STUCK_PAUSE }
  }
  state.failures += 1
  return { next, pause: Math.min(LONGEST_PAUSE, 500 * 2 ** Math.min(state.failures, 10)) }
}
