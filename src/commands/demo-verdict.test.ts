import { expect, test } from 'vitest'
import type { Verdict } from '../../fixtures/demo/verdict.ts'
import { reportVerdict } from './demo-verdict.ts'
import { createOutput } from './output.ts'

const RIGHT: Verdict = {
  ...{ verdict: 'ok', reasons: [], acknowledged: 5_000, lost: 0, doubled: 0, staleReads: 0, failedRequests: 0 },
  ...{
    outageMs: { users: { p50: 100, max: 200 }, orders: { p50: 90, max: 150 } },
    driftRows: 0,
    seconds: 60,
    details: [],
  },
  ...{ writesPerSecond: 210, readsPerSecond: 420 },
}
const WRONG: Verdict = {
  ...RIGHT,
  ...{ verdict: 'wrong', reasons: ['lost 1', 'driftRows 1'], lost: 1, driftRows: 1 },
  details: [
    { kind: 'lost', entity: '17/one', expected: 'a', saw: 'null' },
    { kind: 'missing', table: 'users', key: '(3)' },
  ],
}

test('a right verdict exits 0 and says so', () => {
  const { code, stdout, stderr } = report(RIGHT)
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toContain('✔ nothing was lost')
})

test('a wrong verdict exits 8, with what was found and what to do', () => {
  const { code, stdout, stderr } = report(WRONG)
  expect(code).toBe(8)
  expect(stdout).toContain('✖ wrong: lost 1, driftRows 1')
  expect(stdout).not.toContain('✔')
  expect(stderr).toMatch(
    /^ {2}lost {2}17\/one: expected a, saw null\n {2}missing {2}users \(3\)\n✖ VERDICT_WRONG .*\n {2}Do: .*--keep/,
  )
})

test('a wrong verdict is an issue in JSON', () => {
  const { code, stdout } = report(WRONG, true)
  expect(code).toBe(8)
  expect(JSON.parse(stdout)).toMatchObject({
    ...{ schema: 'migrate.demo/1', ok: false, status: 'error', data: { verdict: 'wrong', lost: 1 } },
    issues: [{ code: 'VERDICT_WRONG', severity: 'error', message: expect.stringContaining('lost 1') }],
  })
})

function report(verdict: Verdict, json = false) {
  let [stdout, stderr] = ['', '']
  const streams = {
    stdout: { write: (text: string) => (stdout += text) },
    stderr: { write: (text: string) => (stderr += text) },
  }
  const output = createOutput(streams, { json, color: false })
  reportVerdict(output, verdict)
  return { code: output.code, stdout, stderr }
}
