import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { Pool } from 'undici'
import { MigrateError } from '../errors.ts'
import { BodyBudget } from './body.ts'
import type { RouterContext } from './context.ts'
import { Counters } from './counters.ts'
import { isSafe } from './decide.ts'
import { drain } from './drain.ts'
import { gate } from './gate.ts'
import { Holds } from './hold.ts'
import { Loads } from './loads.ts'
import { isWorthMarking, pathOf } from './mark-write.ts'
import { appliedEverywhere, type MarkedWrite, Marks } from './marks.ts'
import { compileRoutes } from './match.ts'
import { DEFAULT_LIMITS, type RouterLimits, type RouterOptions, type RunningRouter, SYSTEM_CLOCK } from './options.ts'
import { PolicyFeed } from './policy.ts'
import { PositionSampler } from './position.ts'
import { readHandler } from './read.ts'
import { refuse } from './refuse.ts'
import { parseSticky, type StickySource } from './sticky.ts'
import { answer, handleUpgrade, wantsWebSocket } from './upgrade.ts'
import { handleWrite, type PendingWrite, releaseHeld } from './write.ts'

/**
 * Starts a router in front of the monolith: reads split by key, writes to whoever has the authority.
 * Throws PORT_IN_USE when it cannot listen. It also starts while the control database is away: then reads go to the
 * monolith and writes of services are refused until it has been read.
 */
export async function serveRouter(options: RouterOptions): Promise<RunningRouter> {
  const context = openContext(options)
  await context.policies.start()
  // Writes from before this start, or through other instances, have left no marks here.
  endMark(context, context.marks.beginEverybody())
  const underWay = new Set<ServerResponse>()
  const upgraded = new Set<Duplex>()
  const server = createRouterServer(context, underWay, upgraded)
  const state = { closing: null as Promise<void> | null }
  const close = (): Promise<void> => {
    state.closing ??= drain({ context, server, underWay, upgraded })
    return state.closing
  }
  const address = await listen(server, options.listen).catch(async (error: Error) => {
    await close()
    throw error
  })
  const log = options.log ?? (() => undefined)
  options.signal?.addEventListener('abort', () => {
    close().catch((error: Error) => log(`the router did not close: ${error.message}`))
  })
  return { address, close, policy: () => context.policies.current, counters: () => context.counters.snapshot() }
}

function openContext(options: RouterOptions): RouterContext {
  const limits: RouterLimits = { ...DEFAULT_LIMITS, ...options.limits }
  const { control, instance, services } = options
  const clock = options.clock ?? SYSTEM_CLOCK
  const log = options.log ?? (() => undefined)
  const counters = new Counters()
  const names = services.map(({ name }) => name)
  const holds = new Holds<PendingWrite>(limits)
  // at the start everybody is marked in any case
  const watching = { marks: true }
  const loads = new Loads(names, () => policies.hurry())
  const policies: PolicyFeed = new PolicyFeed({
    ...{ control, instance, clock, limits, counters, log },
    loads: () => loads.report((service) => holds.count(service)),
    waiting: () => !holds.empty,
    onReading: () => onReading(context, watching),
  })
  const context: RouterContext = {
    ...{ instance, clock, limits, counters, holds, loads, policies, secondLeg: options.secondLeg },
    monolith: openPool(options.monolith, limits),
    services: new Map(services.map(({ name, http }) => [name, openPool(http, limits)])),
    match: compileRoutes(services),
    allSticky: stickyOf(options),
    marks: new Marks(limits.marks, counters),
    positions: new PositionSampler(control, counters, limits.controlMs),
    budget: new BodyBudget(limits.bufferedBytes),
  }
  return context
}

function onReading(context: RouterContext, watching: { marks: boolean }): void {
  const { marks, policies } = context
  const worth = isWorthMarking(policies.current)
  // Until now no write was marked: a service that has just begun to follow may lack the last ones for a moment.
  if (worth && !watching.marks) endMark(context, marks.beginEverybody())
  watching.marks = worth
  if (policies.current !== null) marks.drop(appliedEverywhere(policies.current))
  for (const write of marks.takeUnsampled()) endMark(context, write)
  releaseHeld(context)
}

function endMark({ marks, positions }: RouterContext, write: MarkedWrite): void {
  positions.sample().then(
    (position) => marks.end(write, position),
    () => marks.end(write, null),
  )
}

function createRouterServer(context: RouterContext, underWay: Set<ServerResponse>, upgraded: Set<Duplex>): Server {
  const { limits } = context
  const handle = requestHandler(context, underWay)
  const server = createServer({
    headersTimeout: limits.clientHeaderMs,
    requestTimeout: limits.clientRequestMs,
    connectionsCheckingInterval: 1_000,
    // Longer than a load balancer keeps its idle connections, so that it never writes to one that we close.
    keepAliveTimeout: 65_000,
    maxHeaderSize: 16 * 1024,
    noDelay: true,
    shouldUpgradeCallback: wantsWebSocket,
  })
  server.on('request', handle)
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    if (gate(request, limits.urlBytes) === null) response.writeContinue()
    handle(request, response)
  })
  server.on('checkExpectation', handle)
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    upgraded.add(socket)
    socket.once('close', () => upgraded.delete(socket))
    handleUpgrade(context, request, socket, head)
  })
  server.on('connect', (_request, socket) => answer(socket, 405, 'CONNECT is not passed on'))
  return server
}

function requestHandler(
  context: RouterContext,
  underWay: Set<ServerResponse>,
): (request: IncomingMessage, response: ServerResponse) => void {
  const { counters, limits, match } = context
  const read = readHandler(context)
  return (request, response) => {
    counters.requests++
    const refusal = gate(request, limits.urlBytes)
    if (refusal !== null) {
      counters.gateRefused++
      return refuse(response, refusal.status, refusal.reason, { close: true })
    }
    if (underWay.size >= limits.inFlight) {
      counters.overloaded++
      return refuse(response, 503, 'too many requests are under way', { retryAfter: 1 })
    }
    underWay.add(response)
    response.once('close', () => underWay.delete(response))
    const route = match(pathOf(request.url as string))
    if (isSafe(request.method as string)) read(request, response, route)
    else handleWrite(context, request, response, route)
  }
}

function openPool(origin: string, limits: RouterLimits): Pool {
  return new Pool(origin, {
    connections: limits.connections,
    connectTimeout: limits.connectMs,
    headersTimeout: limits.answerMs,
    bodyTimeout: 0,
    allowH2: false,
    // Below the 5 s after which a Node upstream closes an idle connection; its own hint counts if it is lower.
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 60_000,
  })
}

function stickyOf({ services }: RouterOptions): StickySource[] {
  const texts = services.flatMap(({ routes }) => routes.flatMap(({ sticky }) => sticky ?? []))
  const general = [...new Set(texts)].filter((text) => !text.startsWith('path:'))
  return general.map((text) => parseSticky(text, '', []))
}

function listen(server: Server, { host, port }: RouterOptions['listen']): Promise<RunningRouter['address']> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: Error) => {
      const address = `${host}:${port}`
      reject(new MigrateError('PORT_IN_USE', { address, reason: cause.message }, { cause }))
    })
    server.listen({ host, port }, () => {
      const bound = server.address() as AddressInfo
      const shown = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address
      resolve({ host: bound.address, port: bound.port, url: `http://${shown}:${bound.port}` })
    })
  })
}
