import type { Server, ServerResponse } from 'node:http'
import { Server as NetServer } from 'node:net'
import type { Duplex } from 'node:stream'
import type { RouterContext } from './context.ts'

export interface Draining {
  readonly context: RouterContext
  readonly server: Server
  readonly underWay: ReadonlySet<ServerResponse>
  /** sockets that carry a WebSocket */
  readonly upgraded: ReadonlySet<Duplex>
}

/** Stops a router without resetting anybody: see RunningRouter.close. */
export async function drain(draining: Draining): Promise<void> {
  const { context, server, underWay } = draining
  const { loads, policies, monolith, services } = context
  for (const response of underWay) response.shouldKeepAlive = false
  // Runs before the handler of the request, so every answer from now on ends its connection.
  server.prependListener('request', (_request, response: ServerResponse) => {
    response.shouldKeepAlive = false
  })
  await stopListening(draining)
  // Legs, and writes whose client has gone, outlive their connections.
  await loads.whenIdle()
  await policies.stop()
  await Promise.all([monolith, ...services.values()].map((pool) => pool.destroy()))
}

function stopListening({ context, server, upgraded }: Draining): Promise<void> {
  const { limits } = context
  if (!server.listening) return Promise.resolve()
  return new Promise((resolve) => {
    // http's own close() would at once cut idle connections, on which a request may be on its way.
    const sweep = setInterval(() => server.closeIdleConnections(), limits.drainIdleMs)
    const cut = setTimeout(() => {
      server.closeAllConnections()
      for (const socket of upgraded) socket.destroy()
    }, limits.drainMs)
    NetServer.prototype.close.call(server, () => {
      clearInterval(sweep)
      clearTimeout(cut)
      // Ends the timer by which http watches its connections.
      server.close()
      resolve()
    })
  })
}
