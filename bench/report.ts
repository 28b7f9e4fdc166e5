import { isFailed, type Request } from '../fixtures/load/ledger.ts'
import type { Window } from '../fixtures/load/outage.ts'

/** One line of a benchmark: ours against the peer's, measured in the same run. */
export interface Row {
  readonly work: string
  readonly unit: string
  /** null = there is none */
  readonly peer: string | null
  readonly peerValue: number | null
  readonly ours: number
  /** ours / peerValue */
  readonly ratio: number | null
  /** ours must be below; null = only reported */
  readonly goal: number | null
  /** the more the better: the ratio must reach the goal */
  readonly more?: boolean
  readonly pass: boolean
}

export interface Report {
  readonly bench: string
  readonly machine: string
  readonly rows: readonly Row[]
}

/** Prints a table, with `json` also the report as the last line; returns the exit code. */
export function printReport(report: Report, json: boolean): number {
  process.stdout.write(`\n${report.bench} on ${report.machine}\n`)
  for (const { work, unit, peer, peerValue, ours, ratio, goal, more, pass } of report.rows) {
    const against = peer === null ? '' : `   ${peer}: ${peerValue} ${unit} (ratio ${ratio})`
    const wanted =
      goal === null
        ? ''
        : `   goal ${more === true ? '≥' : '<'} ${goal}${more === true && peer !== null ? ' ×' : ''}: ${pass ? 'met' : 'MISSED'}`
    process.stdout.write(`${work.padEnd(40)} ${`${ours} ${unit}`.padStart(14)}${wanted.padEnd(24)}${against}\n`)
  }
  if (json) process.stdout.write(`${JSON.stringify(report)}\n`)
  return report.rows.every(({ pass }) => pass) ? 0 : 1
}

/** The smallest value that so large a share of them does not exceed; 0 of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0
}

/** Requests of any kind that failed and were under way inside one of the windows. */
export function failedIn(requests: readonly Request[], windows: readonly Window[]): Request[] {
  const inside = ({ at, end }: Request): boolean => windows.some(({ from, to }) => at <= to && (end ?? to) >= from)
  return requests.filter((request) => isFailed(request) && inside(request))
}
