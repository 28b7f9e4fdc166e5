import { type AddressInfo, connect as connectTo, createServer } from 'node:net'

/** As much of PgBouncer as can be seen from outside: it makes up the process number, or refuses startup settings. */
export async function startPooler(port: number, how: 'greets' | 'refuses') {
  const server = createServer((client) => {
    client.on('error', () => undefined)
    if (how === 'refuses') {
      const fields = 'SFATAL\0C08P01\0Munsupported startup parameter: options\0\0'
      const head = Buffer.from('E....')
      head.writeInt32BE(4 + Buffer.byteLength(fields), 1)
      client.once('data', () => client.end(Buffer.concat([head, Buffer.from(fields)])))
      return
    }
    const upstream = connectTo(port, '127.0.0.1')
    upstream.on('error', () => client.destroy())
    client.on('close', () => upstream.destroy())
    client.pipe(upstream)
    upstream.on('data', (chunk: Buffer) => {
      // BackendKeyData of protocol 3.0: K, length 12, process, secret
      const at = chunk.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]))
      if (at >= 0) chunk.writeInt32BE(123_456, at + 5)
      client.write(chunk)
    })
    upstream.on('end', () => client.end())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port: own } = server.address() as AddressInfo
  return { port: own, [Symbol.asyncDispose]: () => new Promise<void>((resolve) => void server.close(() => resolve())) }
}
