import type { Verdict } from '../../fixtures/demo/verdict.ts'
import { MigrateError } from '../errors.ts'
import { type Colors, failureText, keyValues } from '../ui/text.ts'
import type { Output } from './output.ts'

/** Prints the verdict; a wrong one sets exit code 8 and says on stderr what was found. */
export function reportVerdict(output: Output, verdict: Verdict): void {
  const wrong =
    verdict.verdict === 'wrong' ? new MigrateError('VERDICT_WRONG', { reason: verdict.reasons.join(', ') }) : null
  output.result(
    {
      schema: 'migrate.demo/1',
      status: wrong === null ? 'ok' : 'error',
      data: verdict,
      issues: wrong === null ? [] : [{ ...issueOf(wrong), severity: 'error' }],
      nextSteps: [{ cmd: 'migrate demo --keep', why: 'leave it running and look around with migrate status' }],
    },
    (ansi) => verdictText(verdict, ansi),
  )
  if (wrong === null) return
  output.exit(wrong.exit)
  for (const detail of verdict.details.slice(0, 20)) output.note(detailLine(detail))
  if (!output.json) output.note(failureText(issueOf(wrong), output.colors))
}

function issueOf({ code, message, hint }: MigrateError): { code: string; message: string; hint: string } {
  return { code, message, hint }
}

function verdictText(verdict: Verdict, ansi: Colors): string {
  const { outageMs, reasons } = verdict
  return [
    '',
    keyValues(
      [
        [
          'acknowledged writes',
          `${verdict.acknowledged} (${verdict.writesPerSecond}/s, reads ${verdict.readsPerSecond}/s)`,
        ],
        ['lost', String(verdict.lost)],
        ['doubled', String(verdict.doubled)],
        ['stale reads of own writes', String(verdict.staleReads)],
        ['failed requests', String(verdict.failedRequests)],
        ['rows that differ', String(verdict.driftRows)],
        ...Object.entries(outageMs).map(([service, { p50, max }]): [string, string] => [
          `write outage per move of ${service}`,
          `p50 ${p50} ms, max ${max} ms`,
        ]),
        ['seconds', String(verdict.seconds)],
      ],
      ansi,
    ),
    reasons.length === 0
      ? ansi.green('✔ nothing was lost: users and orders cut over, rolled back and cut over again under load')
      : ansi.red(`✖ wrong: ${reasons.join(', ')}`),
  ].join('\n')
}

/** `lost  users 17/one  expected a or b, saw null`, `missing  users (3)`. */
function detailLine(detail: Verdict['details'][number]): string {
  if ('table' in detail) return `  ${detail.kind}  ${detail.table} ${detail.key}`
  return `  ${detail.kind}  ${detail.entity}: expected ${detail.expected}, saw ${detail.saw}`
}
