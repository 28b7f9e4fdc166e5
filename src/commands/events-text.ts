import type { ShownEvent } from '../app/events.ts'
import type { Verification } from '../events/verify.ts'
import { type Colors, plain } from '../ui/text.ts'

/** `12:04:05.123  order-42 @7  OrderPaid  {"total":"12.00"}`, in one line. */
export function eventLine({ createdAt, stream, version, type, data, schemaVersion }: ShownEvent, ansi: Colors): string {
  const form = schemaVersion === 1 ? '' : ` v${schemaVersion}`
  return `${ansi.dim(createdAt)}  ${plain(stream)} @${version}  ${ansi.cyan(plain(type))}${form}  ${plain(JSON.stringify(data))}`
}

export function verificationText({ streams, events, chained, defects }: Verification, ansi: Colors): string {
  const seen = `${streams} streams with ${events} events, ${chained} of them with a hash chain`
  if (defects.length === 0) return `${ansi.green('✔')} ${seen}: nothing was changed or taken away`
  const lines = defects
    .slice(0, 100)
    .map(({ stream, version, problem }) => `  ${plain(stream)} @${version}  ${problem}`)
  const more = defects.length > 100 ? [`  and ${defects.length - 100} more: --json has all`] : []
  return [`${ansi.red('✖')} ${seen}: ${defects.length} defects`, ...lines, ...more].join('\n')
}
