import type { IncomingMessage } from 'node:http'
import type { Lsn } from '../model/lsn.ts'
import type { PolicySet } from '../model/policy.ts'
import { STAGE_RULES } from '../model/stage.ts'
import type { RouterContext } from './context.ts'
import { type Match, splitPath } from './match.ts'
import type { MarkedWrite } from './marks.ts'
import { entityKey, userKeys } from './sticky.ts'

/** What one write of the monolith has marked. */
export interface WrittenMarks {
  /** the answer names the row it has made: its readers are marked before they can know of it */
  readonly created: (location: string | null) => void
  /** the whole answer is in; the promise gives the position after it, null when it cannot be had */
  readonly end: (id: string | null) => Promise<Lsn | null>
}

/** Marks the user and the entity of a write as being written; call it before the write is sent. */
export function markWrite(context: RouterContext, request: IncomingMessage, match: Match | null): WrittenMarks {
  const { marks, positions, policies, allSticky } = context
  const segments = match?.segments ?? splitPath(pathOf(request.url as string))
  const written: MarkedWrite[] = []
  const begin = (): void => {
    const ownPath = match?.route.sticky.filter((source) => source.from === 'path') ?? []
    const keys = userKeys([...allSticky, ...ownPath], request.rawHeaders, segments)
    written.push(marks.begin([...keys, entityKey(segments)]))
  }
  if (isWorthMarking(policies.current)) begin()
  const end = (id: string | null): Promise<Lsn | null> => {
    if (written.length === 0) {
      if (!isWorthMarking(policies.current)) return positions.sample()
      // a sync has begun while the write was under way
      begin()
    }
    if (id !== null && segments.length === 1) written.push(marks.begin([entityKey([segments[0] as string, id])]))
    const position = positions.sample()
    const settle = (lsn: Lsn | null): void => marks.end(written.flat(), lsn)
    position.then(settle, () => settle(null))
    return position
  }
  const created = (location: string | null): void => {
    if (location !== null && isWorthMarking(policies.current)) {
      if (written.length === 0) begin()
      written.push(marks.begin([entityKey(splitPath(pathOf(location)))]))
    }
  }
  return { created, end }
}

/** The path of a target or of a Location, without origin and query. */
export function pathOf(target: string): string {
  const path = target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '')
  const end = path.search(/[?#]/)
  return end === -1 ? path : path.slice(0, end)
}

/** Is there a service whose reads are, or may soon be, split between two sides? Nobody knows = there may be. */
export function isWorthMarking(policies: PolicySet | null): boolean {
  if (policies === null) return true
  for (const { stage } of policies.services.values()) {
    if (stage !== 'off' && STAGE_RULES[stage].authority === 'monolith') return true
  }
  return false
}
