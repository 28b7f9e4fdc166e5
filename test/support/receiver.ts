import { createServer, type IncomingHttpHeaders, type Server, type ServerOptions } from 'node:http'
import { createServer as createSecure } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createLines } from '../../fixtures/servers/lines.ts'
import type { Message } from '../../src/notify/message.ts'

export interface Received {
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly message: Message
}

/** A real receiver of webhooks. */
export interface Receiver extends AsyncDisposable {
  readonly url: string
  readonly got: readonly Received[]
  /** what it answers from now on; `hang` = nothing */
  answers: readonly (number | 'hang')[]
  /** waits for the message with this number, from 1 */
  nth(number: number): Promise<Received>
}

/** Answers 204 unless told otherwise: each of `answers` once, the last for good. */
export async function startReceiver(tls?: ServerOptions & { key: string; cert: string }): Promise<Receiver> {
  const got: Received[] = []
  const arrivals = createLines()
  const server: Server = tls === undefined ? createServer() : createSecure(tls)
  const receiver: Receiver = {
    get url() {
      return `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}/a-secret-path`
    },
    got,
    answers: [204],
    async nth(number) {
      await arrivals.find(new RegExp(`^${number}$`), AbortSignal.timeout(20_000))
      const found = got[number - 1]
      if (found === undefined) throw new Error(`${got.length} message(s) came, not ${number}`)
      return found
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  server.on('request', (request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => (body += text))
    request.on('end', () => {
      got.push({ headers: request.headers, body, message: JSON.parse(body) as Message })
      arrivals.add(`${got.length}\n`)
      const [answer = 204, ...rest] = receiver.answers
      if (rest.length > 0) receiver.answers = rest
      if (answer !== 'hang') response.writeHead(answer).end('what it says does not matter')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return receiver
}
