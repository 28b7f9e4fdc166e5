import { LogicalReplicationService, PgoutputPlugin } from 'pg-logical-replication'
import type { Duplex } from 'node:stream'
import type pg from 'pg'
import { asMigrateError, MigrateError } from '../../errors.ts'
import { formatLsn, type Lsn, ZERO_LSN } from '../../model/lsn.ts'
import type { WalBlock, WalStream } from '../../sync/ports.ts'
import { clientConfig, type DatabaseOptions } from './database.ts'
import { FrameReader } from './frame-reader.ts'
import { quote, quoteLiteral } from './identifier.ts'
import { parseLogin } from './login.ts'
import { translate } from './translate.ts'

export interface WalStreamOptions extends DatabaseOptions {
  readonly slot: string
  readonly publication: string
  readonly from: Lsn
  /** pg_settings.server_version_num of the source */
  readonly serverVersion: number
  /** wal_sender_timeout of the source in milliseconds, 0 = none */
  readonly walSenderTimeout: number
}

/** Bytes that may wait unread before the socket is paused, and the level at which it goes on. */
const HIGH_WATER = 8 * 1024 * 1024
const LOW_WATER = 4 * 1024 * 1024

/**
 * Follows a slot. pg-logical-replication opens and closes the connection; frames and acknowledgements are ours,
 * because the library acknowledges one byte too far and what it has merely received (both lose data).
 */
export async function openWalStream(options: WalStreamOptions): Promise<WalStream> {
  const login = parseLogin(options.url, options.role)
  // the library adds replication=database by itself
  const service = new LogicalReplicationService(clientConfig(login, { ...options, statementTimeout: 0 }), {
    acknowledge: { auto: false, timeoutSeconds: 0 },
  })
  const plugin = new FramePlugin(options)
  // a stream that is closed while it still opens would leave its connection behind
  const started = new Promise<void>((resolve) => service.once('start', resolve))
  const ended = service.subscribe(plugin, options.slot, formatLsn(options.from)).then(
    () => plugin.end(null),
    (error: unknown) => plugin.end(translate(error, login)),
  )
  service.on('error', (error: Error) => plugin.end(translate(error, login)))

  await Promise.race([started, ended])
  if (plugin.failure !== null) {
    // the library keeps the connection when START_REPLICATION is refused
    await service.destroy()
    throw plugin.failure
  }

  // The server drops a client that is silent for wal_sender_timeout; a third of it survives a lost packet.
  const beat = options.walSenderTimeout === 0 ? 15_000 : Math.min(options.walSenderTimeout / 3, 15_000)
  const timer = setInterval(() => plugin.status(false), beat)
  timer.unref()

  return {
    blocks: () => plugin.blocks(),
    recycle: (bytes) => plugin.recycle(bytes),
    acknowledge: (lsn) => plugin.acknowledge(lsn),
    askPosition: () => plugin.status(true),
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      plugin.end(null)
      await service.destroy()
      await ended
    },
  }
}

interface CopyConnection {
  sendCopyFromChunk(chunk: Buffer): void
  readonly stream: Duplex
}

class FramePlugin extends PgoutputPlugin {
  readonly #options: WalStreamOptions
  #connection: CopyConnection | null = null
  #reader: FrameReader | null = null
  /** bytes that have come and were not pulled yet */
  #bytes = 0
  #full = false
  #ended: { error: Error | null } | null = null
  #wake: (() => void) | null = null
  #flushed: Lsn = ZERO_LSN

  constructor(options: WalStreamOptions) {
    super({ protoVersion: 1, publicationNames: [options.publication] })
    this.#options = options
  }

  // subscribe() calls this with the open connection, after it has attached its own handler
  override async start(client: pg.Client, slot: string, from: string): Promise<void> {
    const connection = (client as unknown as { connection: CopyConnection }).connection
    this.#connection = connection
    this.#readInsteadOf(connection.stream)
    // from 18 on the server goes on without a publication that was dropped, and leaves its changes out
    client.on('notice', ({ code, message = '' }) => {
      if (code === '55000' && message.includes('publication')) this.end(this.#publicationLost())
    })
    const version = this.#options.serverVersion
    const settings = [
      `proto_version '${version >= 160_000 ? 4 : version >= 150_000 ? 3 : 2}'`,
      `publication_names ${quoteLiteral(quote(this.#options.publication))}`,
      `binary 'true'`,
      `messages 'true'`,
      // else the server writes big transactions to its disk until they end
      `streaming 'on'`,
    ]
    await client.query(`START_REPLICATION SLOT ${quote(slot)} LOGICAL ${from} (${settings.join(', ')})`)
  }

  /**
   * The driver makes three objects of each message and reuses the buffer behind them; so its handler gets only what
   * is no copy data: answers, errors, notices.
   */
  #readInsteadOf(stream: Duplex): void {
    const [driver, ...others] = stream.listeners('data')
    if (driver === undefined || others.length > 0) {
      throw new MigrateError('INTERNAL', { reason: 'the driver reads its connection in another way' })
    }
    stream.removeAllListeners('data')
    const reader = new FrameReader({
      other: (message) => driver.call(stream, message),
      wanted: () => this.status(false),
    })
    this.#reader = reader
    stream.on('data', (chunk: Buffer) => this.#receive(reader, stream, chunk))
  }

  acknowledge(lsn: Lsn): void {
    if (lsn > this.#flushed) this.#flushed = lsn
    this.status(false)
  }

  /** Sends a standby status update; `reply` asks the server for its own position. */
  status(reply: boolean): void {
    if (this.#connection === null || this.#ended !== null) return
    const message = Buffer.alloc(34)
    message[0] = 0x72 // 'r'
    message.writeBigUInt64BE(this.#flushed, 1)
    message.writeBigUInt64BE(this.#flushed, 9)
    message.writeBigUInt64BE(this.#flushed, 17)
    // microseconds since 2000-01-01
    message.writeBigInt64BE((BigInt(Date.now()) - 946_684_800_000n) * 1000n, 25)
    message[33] = reply ? 1 : 0
    this.#connection.sendCopyFromChunk(message)
  }

  end(error: Error | null): void {
    this.#ended ??= { error }
    // what comes after the end (a lost publication, a close) may have a gap before it
    this.#reader?.close()
    this.#wake?.()
  }

  get failure(): Error | null {
    return this.#ended?.error ?? null
  }

  #publicationLost(): MigrateError {
    const { slot, publication, from, role } = this.#options
    const position = formatLsn(this.#flushed > from ? this.#flushed : from)
    const service = `the copy of the ${role} database`
    return new MigrateError('SLOT_LOST', { slot: `${slot} (its publication ${publication})`, position, service })
  }

  recycle(bytes: Buffer): void {
    this.#reader?.recycle(bytes)
  }

  async *blocks(): AsyncGenerator<WalBlock> {
    for (;;) {
      const bytes = this.#bytes
      const blocks = this.#reader?.take() ?? []
      if (blocks.length > 0) {
        yield* blocks
        this.#release(bytes)
      } else if (this.#ended !== null) {
        if (this.#ended.error !== null) throw this.#ended.error
        return
      } else {
        // what waits is the beginning of one message: the rest of it has to come
        if (this.#full) this.#connection?.stream.resume()
        this.#full = false
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
        this.#wake = null
      }
    }
  }

  #receive(reader: FrameReader, stream: Duplex, chunk: Buffer): void {
    try {
      reader.push(chunk)
    } catch (error) {
      this.end(asMigrateError(error))
    }
    this.#bytes += chunk.length
    this.#full = this.#bytes > HIGH_WATER && this.#ended === null
    if (this.#full) stream.pause()
    this.#wake?.()
  }

  #release(bytes: number): void {
    this.#bytes -= bytes
    if (this.#full && this.#bytes < LOW_WATER) {
      this.#full = false
      this.#connection?.stream.resume()
    }
  }
}
