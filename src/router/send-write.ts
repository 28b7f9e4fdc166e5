import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import type { Pool } from 'undici'
import { type AnswerWatch, type EndedAnswer, travel } from './answer.ts'
import type { RouterContext } from './context.ts'
import { upstreamHeaders } from './headers.ts'
import { markWrite } from './mark-write.ts'
import type { Match } from './match.ts'
import { newId } from './new-id.ts'
import { refuse } from './refuse.ts'
import type { LegWrite, OpenLeg } from './second-leg.ts'
import type { WriteTarget } from './write-target.ts'

/** A write that can be sent. */
export interface OutgoingWrite {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** a stream when it is not kept */
  readonly body: Buffer | Readable | null
  /** of the declared body, when it is a stream; 0 = chunked */
  readonly streamedLength: number
}

/** Sends a write where its decision says; counts it at once, until the answer is in. */
export function letGo(context: RouterContext, write: OutgoingWrite, match: Match, target: WriteTarget): void {
  if (target.to === 'hold') throw new Error('a write was let go that is to be held')
  const { service } = match.route
  context.loads.begin(service, 'writes')
  if (target.to === 'service') return sendToService(context, write, service, target.epoch)
  const kept = write.body === null || Buffer.isBuffer(write.body) ? { body: write.body } : null
  const halted = target.leg && isHalted(context, match)
  if (target.leg && !halted && kept !== null) {
    openLeg(context, { ...write, ...kept }, match, target.epoch)
      .then((leg) => sendToMonolith(context, write, match, leg))
      .catch((error: Error) => {
        context.loads.end(service, 'writes')
        refuse(write.response, 500, error.message)
      })
    return
  }
  if (target.leg) context.secondLeg.skipped(service, halted ? 'ID_NOT_KEPT has halted its route' : 'body too large')
  sendToMonolith(context, write, match, null)
}

/** A write whose path belongs to no service: the monolith's; it may still concern a service's user. */
export function sendElsewhere(context: RouterContext, write: OutgoingWrite): void {
  context.counters.writesMonolith++
  const marks = markWrite(context, write.request, null)
  const ended = (): unknown => marks.end(null)
  const watch = { collect: false, hearOut: true, ended, started: marks.created }
  send(context, write, { pool: context.monolith, by: 'monolith', headers: headersOf(write), watch })
}

function openLeg(
  context: RouterContext,
  { request, body, ...write }: OutgoingWrite & { readonly body: Buffer | null },
  match: Match,
  epoch: number,
): Promise<OpenLeg | null> {
  const { instance, secondLeg } = context
  const { service, path: route } = match.route
  const method = request.method as string
  const target = request.url as string
  const headers = headersOf({ request, body, ...write })
  const idOf: LegWrite['idOf'] = (answer) => newId(answer, match)
  return secondLeg.open({ service, route, epoch, instance, method, target, headers, body, idOf })
}

/** The service has given a row of this route another id: every further leg would make another wrong row. */
function isHalted({ policies }: RouterContext, { route }: Match): boolean {
  return policies.policyOf(route.service)?.halted.includes(route.path) === true
}

function sendToService(context: RouterContext, write: OutgoingWrite, service: string, epoch: number): void {
  context.counters.writesService++
  const headers = [...headersOf(write), 'x-migrate-epoch', String(epoch)]
  const ended = (): void => context.loads.end(service, 'writes')
  const watch = { collect: false, hearOut: true, ended }
  send(context, write, { pool: context.services.get(service) as Pool, by: 'service', headers, watch })
}

function sendToMonolith(context: RouterContext, write: OutgoingWrite, match: Match, leg: OpenLeg | null): void {
  const { loads, counters, monolith } = context
  const { service } = match.route
  counters.writesMonolith++
  const marks = markWrite(context, write.request, match)
  const ended = (answer: EndedAnswer): void => {
    const id = newId(answer, match)
    const position = marks.end(id)
    if (leg !== null) {
      const legEnded = (): void => loads.end(service, 'legs')
      loads.begin(service, 'legs')
      leg.answered({ status: answer.status, id, position }).then(legEnded, legEnded)
    }
    loads.end(service, 'writes')
  }
  const watch = { collect: write.request.method === 'POST', hearOut: true, ended, started: marks.created }
  send(context, write, { pool: monolith, by: 'monolith', headers: headersOf(write), watch })
}

interface Upstream {
  readonly pool: Pool
  readonly by: 'service' | 'monolith'
  readonly headers: string[]
  readonly watch: AnswerWatch
}

function send(context: RouterContext, write: OutgoingWrite, upstream: Upstream): void {
  const { request, response, body, streamedLength } = write
  // Gone while its intent was made durable: not sent.
  if (response.destroyed) return upstream.watch.ended({ status: null, location: null, body: null })
  if (streamedLength > 0) upstream.headers.push('content-length', String(streamedLength))
  travel({
    ...upstream,
    request,
    response,
    method: request.method as string,
    target: request.url as string,
    body,
    headerMs: context.limits.answerMs,
    counters: context.counters,
    startedAt: 0,
    takeOver: null,
  })
}

function headersOf({ request }: OutgoingWrite): string[] {
  return upstreamHeaders(request.rawHeaders, request.socket.remoteAddress ?? '', 'http')
}
