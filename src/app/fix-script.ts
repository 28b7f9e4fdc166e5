import { quoteLiteral } from '../stores/postgres/identifier.ts'
import type { CheckedSide } from './check.ts'

/**
 * A psql script of what removes these findings. Each part looks first whether it is in its own database, so that one
 * script can be run in all of them; what somebody has to decide first is there as a comment.
 */
export function fixScript(sides: readonly CheckedSide[]): string {
  const parts = sides.map(part).filter((text) => text !== '')
  return parts.length === 0 ? '-- nothing to do\n' : `${HEAD}${parts.join('')}`
}

const HEAD = `-- Made by migrate check --fix-sql. Run it with psql as a superuser, in each database named below: every part runs in its
-- own database only. What is a comment has to be decided by a person. A lock is waited for 200 ms; run it again then.
\\set ON_ERROR_STOP on
set lock_timeout = '200ms';
`

function part(side: CheckedSide): string {
  const statements = new Set<string>()
  const comments = new Set<string>()
  for (const { check, severity, message, fix, sql } of side.findings) {
    if (severity === 'info') continue
    if (sql.length > 0) for (const statement of sql) statements.add(statement)
    else comments.add(comment(`${check}: ${message}. By hand: ${fix}`))
  }
  if (statements.size + comments.size === 0) return ''
  return `
-- ${oneLine(side.name)}: ${oneLine(side.address)}
${[...comments].join('')}select (select system_identifier::text from pg_control_system()) = ${quoteLiteral(side.systemIdentifier)}
  and current_database() = ${quoteLiteral(side.database)} as migrate_here \\gset
\\if :migrate_here
${[...statements].map((statement) => `${statement}\n`).join('')}\\else
\\echo not the database of ${oneLine(side.name)}: skipped
\\endif
`
}

function comment(text: string): string {
  return `-- ${oneLine(text)}\n`
}

/** A name from the catalogue must not end a comment and begin a statement. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')
}
