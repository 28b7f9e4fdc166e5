import { expect, test } from 'vitest'
import { fixScript } from './fix-script.ts'

const FINDING = { check: 'wal-cap', severity: 'error', side: 'monolith', message: 'm', measured: '', why: '' } as const
const SIDE = {
  name: 'monolith',
  address: 'db:5432/shop',
  systemIdentifier: '77',
  version: '18',
  database: "sh'op",
  user: 'u',
}

test('runs each statement once, in its own database only', () => {
  const findings = [
    { ...FINDING, fix: 'a;', sql: ['a;'] },
    { ...FINDING, fix: 'a; b;', sql: ['a;', 'b;'] },
  ]
  const script = fixScript([{ ...SIDE, findings }])
  expect(script).toContain(
    `= '77'\n  and current_database() = 'sh''op' as migrate_here \\gset\n\\if :migrate_here\na;\nb;\n`,
  )
})

test('makes a comment of what somebody has to decide, on one line', () => {
  const findings = [{ ...FINDING, message: 'x\n\\! rm', fix: 'drop y', sql: [] }]
  expect(fixScript([{ ...SIDE, findings }])).toContain('\n-- wal-cap: x \\! rm. By hand: drop y\n')
})

test('says nothing of what needs no action', () => {
  const findings = [{ ...FINDING, severity: 'info' as const, fix: 'x', sql: [] }]
  expect(fixScript([{ ...SIDE, findings }])).toBe('-- nothing to do\n')
})
