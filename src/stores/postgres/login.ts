import type { ConnectionOptions } from 'node:tls'
import { readFileSync } from 'node:fs'
import { MigrateError } from '../../errors.ts'

export interface Login {
  readonly role: string
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  readonly password: string | undefined
  readonly ssl: ConnectionOptions | false
  /** host:port/database, safe to print */
  readonly address: string
}

/**
 * Takes a `postgres://user:password@host:port/database` URL apart. TLS is verified for every host off loopback;
 * `sslmode=disable` is honoured only when written, `sslrootcert=PATH` names the CA. Never prints the URL.
 */
export function parseLogin(url: string, role: string): Login {
  const parsed = URL.parse(url)
  if (parsed === null || !/^postgres(ql)?:$/.test(parsed.protocol) || parsed.hostname === '') {
    throw new MigrateError('DATABASE_LOGIN', {
      role,
      address: '(not a postgres:// URL)',
      reason: 'the URL is malformed',
    })
  }
  const host = parsed.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = parsed.port === '' ? 5432 : Number(parsed.port)
  const database = decodeURIComponent(parsed.pathname.slice(1)) || decodeURIComponent(parsed.username)
  return {
    role,
    host,
    port,
    user: decodeURIComponent(parsed.username),
    database,
    password: parsed.password === '' ? undefined : decodeURIComponent(parsed.password),
    ssl: tls(parsed.searchParams, host),
    address: `${host}:${port}/${database}`,
  }
}

function tls(parameters: URLSearchParams, host: string): ConnectionOptions | false {
  const mode = parameters.get('sslmode')
  if (mode === 'disable') return false
  if (mode === null && isLoopback(host)) return false
  const ca = parameters.get('sslrootcert')
  return { rejectUnauthorized: true, ...(ca === null ? {} : { ca: readFileSync(ca, 'utf8') }) }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}
