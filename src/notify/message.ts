import { createHmac, randomUUID } from 'node:crypto'
import type { Alert, AlertName } from '../model/alert.ts'

/** What a target gets, as one JSON object. Keys may be added. */
export interface Message {
  readonly schema: 'migrate.alert/1'
  /** the same in every try of one message, so that a receiver can drop what it has already got */
  readonly id: string
  readonly state: 'raised' | 'resolved' | 'test'
  readonly name: AlertName | 'test'
  readonly project: string
  readonly service: string
  /** what of the service; only where several may be raised at once */
  readonly subject?: string | undefined
  readonly summary: string
  readonly next: string
  readonly context: Readonly<Record<string, string | number>>
  /** ISO 8601, UTC */
  readonly at: string
}

export function raised(project: string, alert: Alert, at: Date): Message {
  return { ...frame(at), state: 'raised', project, ...alert }
}

export function resolved(
  project: string,
  { name, service, subject }: { name: AlertName; service: string; subject: string | undefined },
  at: Date,
): Message {
  const summary = `${name} of ${subject ?? service} is over`
  const next = name.startsWith('saga-') ? `migrate saga stats ${service}` : `migrate status ${service}`
  return {
    ...frame(at),
    ...{
      state: 'resolved',
      name,
      project,
      service,
      ...(subject !== undefined && { subject }),
      summary,
      next,
      context: {},
    },
  }
}

export function testMessage(project: string, at: Date): Message {
  const summary = 'a test of the alerts, sent by hand: nothing is wrong'
  return {
    ...frame(at),
    ...{ state: 'test', name: 'test', project, service: '', summary, next: 'migrate status', context: {} },
  }
}

/** `sha256=…` of the HMAC over `timestamp.body`: who knows the secret sent it, and not long ago. */
export function signature(secret: string, timestamp: string, body: string): string {
  return `sha256=${createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')}`
}

function frame(at: Date) {
  return { schema: 'migrate.alert/1', id: randomUUID(), at: at.toISOString() } as const
}
