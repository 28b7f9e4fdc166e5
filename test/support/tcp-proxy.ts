import { connect, createServer, type Server, type Socket } from 'node:net'

/** A way to a server that can be taken away without touching the server. */
export interface TcpProxy extends AsyncDisposable {
  readonly port: number
  /** Ends every connection and refuses new ones. */
  cut(): Promise<void>
  /** Accepts and passes nothing on, in either direction: a server that hangs, or a network that swallows. */
  freeze(): void
  /** Takes connections again, and goes on with those that were frozen. */
  restore(): Promise<void>
}

export async function startTcpProxy(target: { host: string; port: number }): Promise<TcpProxy> {
  const pairs = new Map<Socket, Socket>()
  let frozen = false
  const server = createServer((client) => {
    const upstream = connect(target)
    pairs.set(client, upstream)
    client.pipe(upstream)
    upstream.pipe(client)
    if (frozen) pauseBoth(client, upstream)
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on('error', () => other.destroy())
      one.on('close', () => {
        other.destroy()
        pairs.delete(client)
      })
    }
  })
  const port = await listen(server, 0)
  const cut = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const [client, upstream] of pairs) {
      client.destroy()
      upstream.destroy()
    }
    await closed
  }
  return {
    port,
    cut,
    freeze() {
      frozen = true
      for (const [client, upstream] of pairs) pauseBoth(client, upstream)
    },
    async restore() {
      frozen = false
      for (const [client, upstream] of pairs) {
        client.pipe(upstream)
        upstream.pipe(client)
      }
      if (!server.listening) await listen(server, port)
    },
    [Symbol.asyncDispose]: () => (server.listening ? cut() : Promise.resolve()),
  }
}

function pauseBoth(client: Socket, upstream: Socket): void {
  client.unpipe(upstream)
  upstream.unpipe(client)
  client.pause()
  upstream.pause()
}

async function listen(server: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host: '127.0.0.1' }, resolve)
  })
  return (server.address() as { port: number }).port
}
