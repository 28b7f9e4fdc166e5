import { readFileSync } from 'node:fs'
import type { Bed, Side } from './bed.ts'

export interface Meter {
  /** processor seconds by kind of process, as text */
  stop(): Promise<string>
}

const EVERY_MS = 50
/** Of the kernel's clock, in which /proc counts; the same on every Linux that we know. */
const TICKS_PER_SECOND = 100

/**
 * Counts the processor time of WAL senders, of the target's sessions and of the process that we started, until stopped.
 * What a process did between the last look and its end is not seen. Only where there is /proc.
 */
export async function startMeter(bed: Bed, side: Side | null, pid: () => number | undefined): Promise<Meter> {
  const used = new Map<number, { kind: string; seconds: number }>()
  const ended = new AbortController()
  const look = async (): Promise<void> => {
    const own = pid()
    if (own !== undefined) used.set(own, { kind: 'client', seconds: used.get(own)?.seconds ?? 0 })
    for (const [id, kind] of await sessions(bed, side)) if (!used.has(id)) used.set(id, { kind, seconds: 0 })
    for (const [id, each] of used) each.seconds = secondsOf(id) ?? each.seconds
  }
  const looking = (async (): Promise<void> => {
    while (!ended.signal.aborted) {
      await look()
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS))
    }
  })()
  return {
    async stop() {
      ended.abort()
      await looking
      const sums = new Map<string, number>()
      for (const { kind, seconds } of used.values()) sums.set(kind, (sums.get(kind) ?? 0) + seconds)
      return `CPU: ${[...sums].map(([kind, sum]) => `${kind} ${sum.toFixed(2)} s`).join(', ')}`
    },
  }
}

async function sessions(bed: Bed, side: Side | null): Promise<[pid: number, kind: string][]> {
  const senders = await bed.sql.query<{ pid: number }>('select pid from pg_stat_replication')
  const applying = await bed.admin.query<{ pid: number }>(
    `select pid from pg_stat_activity where datname = $1 and application_name <> 'bench'
       and backend_type in ('client backend', 'logical replication worker')`,
    [side],
  )
  return [
    ...senders.rows.map(({ pid }): [number, string] => [pid, 'WAL sender']),
    ...applying.rows.map(({ pid }): [number, string] => [pid, 'target session']),
  ]
}

/** User and system time of a process; null when it has ended. */
function secondsOf(pid: number): number | null {
  try {
    // the name in parentheses may hold anything, blanks too
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
  } catch {
    return null
  }
}
