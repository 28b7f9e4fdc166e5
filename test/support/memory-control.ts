// What surrounds a router in its tests, in memory but on real sockets: the control database, upstreams, a client.
import { EventEmitter } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, request, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { asLsn, type Lsn } from '../../src/model/lsn.ts'
import type { PolicySet, ServicePolicy } from '../../src/model/policy.ts'
import type { RouterControl, RouterReport } from '../../src/router/control.ts'
import type { RouterOptions, RunningRouter } from '../../src/router/options.ts'
import { serveRouter } from '../../src/router/server.ts'

/** The control database as several routers see it; `connect()` gives one router's view. */
export class MemoryControl {
  readonly #events = new EventEmitter().setMaxListeners(0)
  readonly #services = new Map<string, ServicePolicy>()
  readonly reports = new Map<string, RouterReport>()
  /** all of them, in order */
  readonly reported: RouterReport[] = []
  version = 1
  /** no call is answered */
  away = false
  /** the authority rows are in a database of their own, which answers while this one is away */
  apart = false
  /** `position()` alone fails */
  positionAway = false
  /** notifications get lost */
  mute = false
  wal = 1_000n
  extraLaggards = 0

  constructor(...services: readonly string[]) {
    for (const service of services) this.#services.set(service, policyOf(service))
  }

  set(service: string, change: Partial<ServicePolicy>): number {
    this.version++
    const before = this.#services.get(service) ?? policyOf(service)
    this.#services.set(service, { ...before, ...change, version: this.version })
    this.notify()
    return this.version
  }

  /** Without a new version, as the position of a sink or a deadline changes. */
  touch(service: string, change: Partial<ServicePolicy>): void {
    this.#services.set(service, { ...(this.#services.get(service) as ServicePolicy), ...change })
  }

  notify(): void {
    if (!this.mute) this.#events.emit('change')
  }

  read(): PolicySet {
    const behind = [...this.reports.values()].filter((report) => report.version < this.version)
    const laggards = behind.length + this.extraLaggards
    return { version: this.version, laggards, services: new Map(this.#services) }
  }

  connect(): RouterControl {
    const answer = async <T>(give: () => T): Promise<T> => {
      await Promise.resolve()
      if (this.away) throw new Error('control database away')
      return give()
    }
    return {
      readPolicy: () => answer(() => this.read()),
      readAuthority: this.apart ? () => Promise.resolve(this.#services) : null,
      onChange: (changed) => void this.#events.on('change', changed),
      report: (report) => answer(() => this.#report(report)),
      position: () => answer(() => this.position()),
    }
  }

  position(): Lsn {
    if (this.positionAway) throw new Error('position away')
    return asLsn(this.wal)
  }

  /** Resolves with the first report, past or to come, that fits. */
  async reportThat(fits: (report: RouterReport) => boolean): Promise<RouterReport> {
    for (;;) {
      const found = [...this.reports.values()].find(fits)
      if (found !== undefined) return found
      await new Promise((resolve) => this.#events.once('report', resolve))
    }
  }

  #report(report: RouterReport): void {
    this.reports.set(report.instance, report)
    this.reported.push(report)
    this.#events.emit('report')
  }
}

function policyOf(service: string): ServicePolicy {
  return {
    service,
    stage: 'off',
    percent: 0,
    version: 1,
    authority: { side: 'monolith', epoch: 1 },
    fence: 'open',
    fenceRun: 0,
    hold: null,
    legs: false,
    halted: [],
    applied: asLsn(1_000n),
  }
}

/** A monolith, a service `users`, their control database, and routers in front of them. */
export class Scene {
  readonly control = new MemoryControl('users')
  readonly monolith: Upstream
  readonly users: Upstream
  readonly #routers: RunningRouter[] = []

  private constructor(monolith: Upstream, users: Upstream) {
    this.monolith = monolith
    this.users = users
  }

  static async open(): Promise<Scene> {
    return new Scene(await new Upstream('monolith').listen(), await new Upstream('users').listen())
  }

  async router(options: Partial<RouterOptions> = {}): Promise<RunningRouter> {
    const routes = [{ path: '/users/**', sticky: ['header:x-user-id', 'cookie:sid'] }]
    const running = await serveRouter({
      listen: { host: '127.0.0.1', port: 0 },
      monolith: this.monolith.url,
      services: [{ name: 'users', http: this.users.url, routes }],
      control: this.control.connect(),
      secondLeg: { open: () => Promise.resolve(null), skipped: () => undefined, without: () => undefined },
      instance: `router-${this.#routers.length + 1}`,
      ...options,
      limits: { drainIdleMs: 50, pollMs: 200, ...options.limits },
    })
    this.#routers.push(running)
    return running
  }

  /** Changes the policy and waits until every router obeys it. */
  async set(change: Partial<ServicePolicy>): Promise<void> {
    const version = this.control.set('users', change)
    for (let index = 1; index <= this.#routers.length; index++) {
      await this.control.reportThat((report) => report.instance === `router-${index}` && report.version >= version)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const router of this.#routers) await router.close()
    await this.monolith.close()
    await this.users.close()
  }
}

export interface Call {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** An HTTP server that remembers its calls; `answer` may be replaced at any time. */
export class Upstream {
  readonly calls: Call[] = []
  answer: RequestListener
  readonly server: Server
  readonly #events = new EventEmitter().setMaxListeners(0)
  readonly #name: string
  url = ''

  constructor(name: string) {
    this.#name = name
    this.answer = (_, response) => response.end(this.#name)
    this.server = createServer((incoming, response) => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
      incoming.on('end', () => {
        const { method = '', url = '', headers } = incoming
        this.calls.push({ method, url, headers, body: Buffer.concat(chunks).toString() })
        this.#events.emit('call')
        this.answer(incoming, response)
      })
    })
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
    return this
  }

  /** Resolves when it has had so many calls. */
  async called(times: number): Promise<void> {
    while (this.calls.length < times) await new Promise((resolve) => this.#events.once('call', resolve))
  }

  close(): Promise<void> {
    this.server.closeAllConnections()
    return new Promise((resolve) => this.server.close(() => resolve()))
  }
}

export interface Reply {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly rawHeaders: readonly string[]
  readonly body: string
  readonly trailers: NodeJS.Dict<string>
}

export interface Ask {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Buffer
  readonly agent?: import('node:http').Agent
  readonly signal?: AbortSignal
}

/** One HTTP request with node's own client. */
export function ask(
  base: string,
  path: string,
  { method = 'GET', headers = {}, body, agent, signal }: Ask = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const length =
      body === undefined || 'transfer-encoding' in headers ? {} : { 'content-length': Buffer.byteLength(body) }
    const options = { method, headers: { ...headers, ...length }, ...(agent && { agent }), ...(signal && { signal }) }
    const outgoing = request(`${base}${path}`, options, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const { statusCode: status = 0, rawHeaders, trailers } = response
        resolve({ status, headers: response.headers, rawHeaders, trailers, body: Buffer.concat(chunks).toString() })
      })
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

/** Writes raw bytes and resolves with all that comes back until the server closes the connection. */
export function raw(base: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(base)
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(Number(port), hostname, () => socket.write(bytes, 'latin1'))
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => (answer += chunk))
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })
}
