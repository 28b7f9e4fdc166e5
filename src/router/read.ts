import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Lsn } from '../model/lsn.ts'
import type { Pool } from 'undici'
import { type AnsweredBy, type Failure, type Journey, travel } from './answer.ts'
import { contentLength, hasBody, streamBody } from './body.ts'
import { bucketOf } from './bucket.ts'
import type { RouterContext } from './context.ts'
import { type Decision, decide } from './decide.ts'
import { upstreamHeaders } from './headers.ts'
import type { Match } from './match.ts'
import { entityKey, stickyKey, userKeys } from './sticky.ts'

/** Makes the handler of safe methods: split by key, fallen back to the monolith before the first byte. */
export function readHandler(context: RouterContext): ReadHandler {
  const fallBack = (journey: Journey): boolean => tryMonolith(context, journey)
  const again = (journey: Journey, failure: Failure): boolean => tryAgain(context, journey, failure)
  return (request, response, match) => {
    const startedAt = context.clock.now()
    const withBody = hasBody(request.rawHeaders)
    const decision = match === null ? null : chooseSide(context, request, match)
    // A body can be sent once only, so such a read has no second try and is not split.
    const service = decision !== null && decision.side === 'service' && !(withBody && decision.fallback)
    const common = { context, request, response, startedAt, withBody }
    if (match === null || !service) {
      context.counters.readsMonolith++
      send({ ...common, pool: context.monolith, by: 'monolith', takeOver: withBody ? null : again })
      return
    }
    context.counters.readsService++
    countUntilClosed(context, match.route.service, response)
    const takeOver = decision.fallback ? fallBack : null
    send({ ...common, pool: context.services.get(match.route.service) as Pool, by: 'service', takeOver })
  }
}

export type ReadHandler = (request: IncomingMessage, response: ServerResponse, match: Match | null) => void

interface Sending {
  readonly context: RouterContext
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly startedAt: number
  readonly withBody: boolean
  readonly pool: Pool
  readonly by: AnsweredBy
  readonly takeOver: Journey['takeOver']
}

function send({ context, request, response, startedAt, withBody, pool, by, takeOver }: Sending): void {
  const headers = upstreamHeaders(request.rawHeaders, request.socket.remoteAddress ?? '', 'http')
  const length = withBody ? contentLength(request.rawHeaders) : 0
  if (length > 0) headers.push('content-length', String(length))
  travel({
    request,
    response,
    method: request.method as string,
    target: request.url as string,
    headers,
    pool,
    by,
    body: withBody ? streamBody(request) : null,
    headerMs: by === 'service' && takeOver !== null ? context.limits.serviceHeaderMs : context.limits.answerMs,
    counters: context.counters,
    startedAt,
    takeOver,
    watch: null,
  })
}

function chooseSide(context: RouterContext, request: IncomingMessage, match: Match): Decision & { kind: 'read' } {
  const { policies, marks, loads, limits, counters } = context
  const { route, segments } = match
  const policy = policies.policyOf(route.service)
  const key = stickyKey(route.sticky, request.rawHeaders, segments)
  const decision = decide(policy, {
    method: request.method as string,
    bucket: key === null ? null : bucketOf(key),
    ownWrite: ownWrite(marks, request, match),
    busy: loads.reads(route.service) >= limits.connections,
    settled: true,
  })
  if (decision.kind !== 'read') throw new Error(`${request.method} was not decided as a read`)
  if (decision.reason === 'own-write') counters.ownWriteReads++
  if (decision.reason === 'busy') counters.busyReads++
  return decision
}

function ownWrite(marks: RouterContext['marks'], request: IncomingMessage, match: Match): Lsn | 'pending' | null {
  if (marks.size === 0) return marks.newest([])
  const keys = userKeys(match.route.sticky, request.rawHeaders, match.segments)
  keys.push(entityKey(match.segments))
  return marks.newest(keys)
}

function countUntilClosed({ loads }: RouterContext, service: string, response: ServerResponse): void {
  loads.begin(service, 'reads')
  response.once('close', () => loads.end(service, 'reads'))
}

function tryMonolith({ clock, limits, counters, monolith }: RouterContext, journey: Journey): boolean {
  const left = limits.readDeadlineMs - (clock.now() - journey.startedAt)
  if (left <= 0) return false
  counters.fallbacks++
  travel({ ...journey, pool: monolith, by: 'fallback', headerMs: Math.max(1, Math.floor(left)), takeOver: null })
  return true
}

/** The monolith may close an idle connection just as a read is written to it; that is no answer, so ask once more. */
function tryAgain({ counters }: RouterContext, journey: Journey, failure: Failure): boolean {
  if (failure.kind !== 'reset') return false
  counters.retriedReads++
  travel({ ...journey, takeOver: null })
  return true
}
