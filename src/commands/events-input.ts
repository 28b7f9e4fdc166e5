import { z } from 'zod'
import type { AppendedByHand } from '../app/events.ts'
import { MigrateError } from '../errors.ts'

const EVENT = z.strictObject({
  type: z.string().min(1),
  data: z.unknown(),
  id: z.uuid().optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
  schemaVersion: z.int().positive().optional(),
})
const EVENTS = z.union([z.array(EVENT).min(1), EVENT.transform((event) => [event])])

/** The events of `events append`: one by --type and --data, or what came on stdin. Throws USAGE. */
export function parseEvents(type: string | undefined, data: string | null, stdin: string): AppendedByHand[] {
  if (data !== null && type === undefined) throw usage('--data needs --type, the type of the event')
  if (data === null && type !== undefined) throw usage('--type needs --data, the payload as JSON')
  const { success, data: events } = EVENTS.safeParse(
    data === null ? json(stdin, 'stdin') : { type, data: json(data, '--data') },
  )
  if (!success) throw usage('stdin is not an array of {type, data, id?, metadata?, schemaVersion?}, nor one of them')
  return events
}

export async function readAllOf(stream: NodeJS.ReadStream): Promise<string> {
  if (stream.isTTY) throw usage('give --type and --data, or events as JSON on stdin')
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

function json(text: string, where: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // what is wrong with it may be a part of the payload: not repeated
    throw usage(`${where} is not JSON`)
  }
}

function usage(reason: string): MigrateError {
  return new MigrateError('USAGE', { reason, command: 'migrate events append' })
}
