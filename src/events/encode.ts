import { MigrateError } from '../errors.ts'

/** As JSON. Throws EVENT_INVALID for what JSON does not know, such as a bigint or a ring of objects. */
export function encodeJson(type: string, value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (cause) {
    throw new MigrateError('EVENT_INVALID', { type, reason: 'it is not JSON' }, { cause })
  }
}

/** as the database writes it */
export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** The ids as the database compares them. Throws EVENT_INVALID for one that is no UUID, or is there twice. */
export function encodeIds<Event extends { readonly id: string; readonly type: string }>(events: Event[]): Event[] {
  const seen = new Set<string>()
  return events.map((event) => {
    const id = event.id.toLowerCase()
    const reason = !UUID.test(id)
      ? 'its id is no UUID'
      : seen.has(id)
        ? 'two events of one append have the same id'
        : ''
    if (reason !== '') throw new MigrateError('EVENT_INVALID', { type: event.type, reason })
    seen.add(id)
    return { ...event, id }
  })
}
