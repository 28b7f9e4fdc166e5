import type { MigrateError } from '../errors.ts'
import { plain } from '../ui/text.ts'
import type { Live } from '../ui/live.ts'
import type { Output } from './output.ts'

/** What a command that goes on through an outage says of it. */
export interface Outage {
  began(error: MigrateError): void
  over(): void
  /** what is drawn of it; none: there is no outage */
  lines(): string[]
}

/** Says it once where lines are printed (`live` is null), and as long as it lasts where the command draws. */
export function tellOutage({ print, colors }: Pick<Output, 'print' | 'colors'>, live: Live | null): Outage {
  let trouble: string | null = null
  return {
    began({ code, message, hint }) {
      if (trouble !== message && live === null) print({ event: 'unreachable', code, message, hint }, plain(message))
      trouble = message
    },
    over() {
      if (trouble !== null && live === null) print({ event: 'reachable' }, 'reachable again')
      trouble = null
    },
    lines: () => (trouble === null ? [] : [colors.red(`✖ ${plain(trouble)}; trying again`)]),
  }
}
