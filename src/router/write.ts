import type { IncomingMessage, ServerResponse } from 'node:http'
import { bufferBody, contentLength, hasBody, streamBody } from './body.ts'
import type { RouterContext } from './context.ts'
import { decide } from './decide.ts'
import type { HeldWrite } from './hold.ts'
import type { Match } from './match.ts'
import { refuse } from './refuse.ts'
import { letGo, type OutgoingWrite, sendElsewhere } from './send-write.ts'
import type { WriteTarget } from './write-target.ts'

/** A write of a service that has its body and waits for its decision. */
export interface PendingWrite extends HeldWrite, OutgoingWrite {
  readonly match: Match
}

/** Handles an unsafe method: one upstream, one try. */
export function handleWrite(
  context: RouterContext,
  request: IncomingMessage,
  response: ServerResponse,
  match: Match | null,
): void {
  if (match === null) return sendElsewhere(context, streamed(request, response))
  const target = targetOf(context, request, match)
  if (target === null) return refuseUnknown(context, response)
  const kept = target.to === 'hold' || (target.to === 'monolith' && target.leg) || isWaiting(context, match)
  if (!kept) return letGo(context, streamed(request, response), match, target)
  bufferThenAdmit(context, request, response, match).catch((error: Error) => refuse(response, 500, error.message))
}

/** Sends what may go now; called for each reading of the policy, in the tick in which it was swapped. */
export function releaseHeld(context: RouterContext): void {
  context.holds.release((write) => {
    const target = targetOf(context, write.request, write.match)
    if (target === null || target.to === 'hold') return false
    context.holds.remove(write)
    context.counters.released++
    letGo(context, write, write.match, target)
    return true
  })
}

async function bufferThenAdmit(
  context: RouterContext,
  request: IncomingMessage,
  response: ServerResponse,
  match: Match,
): Promise<void> {
  const { budget, limits, counters } = context
  const buffered = await bufferBody(request, limits.bodyBytes, budget)
  if (buffered.kind === 'whole') {
    const { body } = buffered
    const bytes = body?.length ?? 0
    response.once('close', () => budget.give(bytes))
    if (response.destroyed) return budget.give(bytes)
    const expire = (): void => expireHeld(context, response)
    const service = match.route.service
    return admit(context, { service, bytes, expire, request, response, match, body, streamedLength: 0 })
  }
  if (buffered.kind === 'gone' || response.destroyed) return
  const target = targetOf(context, request, match)
  if (target === null) return refuseUnknown(context, response)
  if (target.to !== 'hold' && !isWaiting(context, match)) {
    return letGo(context, streamed(request, response, buffered.begun), match, target)
  }
  counters.tooLarge++
  refuse(response, 413, 'writes are held for a moment and this body is too large to keep', { close: true })
}

/** The decision that counts: what it lets go is counted in the same tick. */
function admit(context: RouterContext, write: PendingWrite): void {
  const { counters, holds, policies } = context
  const target = targetOf(context, write.request, write.match)
  if (target === null) return refuseUnknown(context, write.response)
  if (target.to !== 'hold' && !isWaiting(context, write.match)) return letGo(context, write, write.match, target)
  if (!holds.add(write)) {
    counters.heldRefused++
    return refuse(write.response, 503, 'too many writes are held', { retryAfter: 1 })
  }
  counters.held++
  write.response.once('close', () => {
    if (holds.remove(write)) counters.heldGone++
  })
  // From now on the policy is polled fast.
  if (holds.count(write.service) === 1) policies.hurry()
}

function targetOf({ policies }: RouterContext, request: IncomingMessage, { route }: Match): WriteTarget | null {
  const policy = policies.policyOf(route.service)
  if (policies.slept) return { to: 'hold', why: 'slept' }
  const settled = policy !== null && policies.settled(policy)
  const method = request.method as string
  const decision = decide(policy, { method, bucket: null, ownWrite: null, busy: false, settled })
  return decision.kind === 'write' ? decision.target : null
}

/** Later writes queue up behind those that wait already. */
function isWaiting({ holds }: RouterContext, { route }: Match): boolean {
  return holds.count(route.service) > 0
}

function streamed(request: IncomingMessage, response: ServerResponse, begun: readonly Buffer[] = []): OutgoingWrite {
  const body = hasBody(request.rawHeaders) ? streamBody(request, begun) : null
  return { request, response, body, streamedLength: contentLength(request.rawHeaders) }
}

function expireHeld({ counters, policies, limits }: RouterContext, response: ServerResponse): void {
  counters.heldExpired++
  const away = policies.age > limits.controlMs
  const reason = away ? 'writes are held and the control database cannot be read' : 'writes were held for too long'
  refuse(response, 503, `${reason}; this one was not sent`, { retryAfter: 1 })
}

function refuseUnknown({ counters }: RouterContext, response: ServerResponse): void {
  counters.unknownAuthority++
  refuse(response, 503, 'the control database was never read, so nobody knows who takes writes', { retryAfter: 1 })
}
