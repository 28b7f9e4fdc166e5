import type { Proposal, ProposedService } from '../analyze/propose.ts'
import { APPLY_ROLE } from '../stores/postgres/apply-role.ts'
import { fullName, type Survey, type SurveyTable } from '../analyze/survey.ts'

const FIRST_PORT = 3001

/** The text of a first `migrate.yaml`: valid once the variables of `envTemplate` are set. */
export function configTemplate(survey: Survey, proposal: Proposal, schemaFile: string): string {
  const { services, staying } = proposal
  return `# yaml-language-server: $schema=./${schemaFile}
#
# Made by \`migrate init\` from the catalogue of ${oneLine(survey.database)} (PostgreSQL ${oneLine(survey.version)}, ${survey.tables.length} tables). A proposal: move tables
# until each service owns what changes together. \`migrate config validate\` checks the file, \`migrate check\` the databases.
# Passwords come from the environment, or from a file: --env-file .env

# Names replication slots and publications: never change it once a sync has run.
project: ${projectName(survey.database)}

monolith:
  # As the role ${APPLY_ROLE}; docs/how-to/roles.md says what it needs, \`migrate check --fix-sql\` prints it.
  database: \${MONOLITH_DATABASE_URL}
  http: \${MONOLITH_HTTP:-http://127.0.0.1:3000}
  # The role that the monolith itself logs in as; it must not be the one above.${seen(survey.logins)}
  # role: ${quoted(survey.logins[0] ?? 'app')}

services:
${services.map(serviceText).join('\n')}${stayingText(staying)}`
}

/** The variables that the configuration needs, with a form instead of values. */
export function envTemplate(survey: Survey, proposal: Proposal): string {
  const url = (database: string) => `postgres://${APPLY_ROLE}:PASSWORD@HOST:5432/${encodeURIComponent(database)}`
  const lines = [
    `MONOLITH_DATABASE_URL=${url(survey.database)}`,
    ...proposal.services.map(({ name }) => `${variable(name)}_DATABASE_URL=${url(name)}`),
    '',
    '# Where they answer HTTP, unless at the address in migrate.yaml:',
    '# MONOLITH_HTTP=http://127.0.0.1:3000',
    ...proposal.services.map(({ name }, at) => `# ${variable(name)}_HTTP=http://127.0.0.1:${FIRST_PORT + at}`),
  ]
  return `# Copy to .env, fill in, and keep .env out of version control. migrate reads it with --env-file .env\n${lines.join('\n')}\n`
}

function serviceText({ name, tables, crossing }: ProposedService, at: number): string {
  const lines = [
    `  ${quoted(name)}:`,
    `    http: \${${variable(name)}_HTTP:-http://127.0.0.1:${FIRST_PORT + at}}`,
    '    tables:',
    ...tables.map((table) => tableText(table)),
    ...(crossing.length === 0 ? [] : ['    # Foreign keys to tables elsewhere; they have to go before the cutover:']),
    ...crossing.map((key) => `    #   ${oneLine(`${key.name}: ${fullName(key.from)} → ${fullName(key.to)}`)}`),
    '    # The requests that move, for example:',
    '    # routes:',
    `    #   - path: /${name}/**`,
    '    #     sticky: [header:x-user-id, cookie:sid]',
    '    stores:',
    '      - kind: postgres',
    `        url: \${${variable(name)}_DATABASE_URL}`,
  ]
  return `${lines.join('\n')}\n`
}

function tableText(table: SurveyTable): string {
  const name = fullName(table)
  if (!isNameable(table))
    return `      # ${oneLine(name)} cannot be named here: a dot, a quote, a space or an asterisk is in it`
  if (table.primaryKey.length > 0) return `      - ${quoted(name)}  # ${sizeText(table)}`
  return `      - ${quoted(name)}  # has no primary key: give it one before the sync; ${sizeText(table)}`
}

function stayingText(staying: readonly SurveyTable[]): string {
  if (staying.length === 0) return ''
  const lines = staying.map((table) => {
    const key = table.primaryKey.length === 0 ? ', no primary key' : ''
    return `#   ${oneLine(fullName(table))}  ${sizeText(table)}${key}\n`
  })
  return `\n# Tables that stay with the monolith:\n${lines.join('')}`
}

/** The form that the configuration accepts for a table. */
export function isNameable({ schema, name }: Pick<SurveyTable, 'schema' | 'name'>): boolean {
  return [schema, name].every((part) => /^[^\s.*"\p{Cc}]{1,63}$/u.test(part))
}

function sizeText({ rows, bytes }: SurveyTable): string {
  if (rows === null || bytes === null) return 'size unknown, never analyzed'
  return `${Math.round(rows).toLocaleString('en')} rows, ${Math.ceil(bytes / 1024).toLocaleString('en')} KiB`
}

function seen(logins: readonly string[]): string {
  return logins.length === 0 ? '' : ` Connected now: ${oneLine(logins.join(', '))}.`
}

function projectName(database: string): string {
  const form = database
    .toLowerCase()
    .replace(/[^a-z0-9_]+/g, '_')
    .replace(/^[^a-z]+/, '')
    .slice(0, 30)
  return quoted(form === '' ? 'project' : form)
}

function variable(service: string): string {
  return service.toUpperCase().replaceAll('-', '_')
}

/** As a YAML text, whatever is in it: plain where no reader could take it for something else. */
function quoted(text: string): string {
  const plain = /^[A-Za-z_][\w.]*$/.test(text) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(text)
  // `${` would be filled in
  return plain ? text : JSON.stringify(text.replaceAll('${', () => '$${'))
}

/** Nothing that ends a comment. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')
}
