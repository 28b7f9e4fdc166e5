import { dirname, join } from 'node:path'
import { fullName, type Survey, type SurveyTable } from '../analyze/survey.ts'
import { type Proposal, propose, proposeNamed } from '../analyze/propose.ts'
import { createFiles, refuseExisting } from '../config/create-files.ts'
import { configJsonSchema } from '../config/json-schema.ts'
import { nearest } from '../config/nearest.ts'
import { configTemplate, envTemplate, isNameable } from '../config/template.ts'
import { MigrateError } from '../errors.ts'
import { openDatabase } from '../stores/postgres/database.ts'
import { parseLogin } from '../stores/postgres/login.ts'
import { readSurvey } from '../stores/postgres/survey.ts'

export interface InitOptions {
  /** URL of the monolith's database; only its catalogue is read */
  readonly from: string
  /** tables by service; empty: propose */
  readonly services: Readonly<Record<string, readonly string[]>>
  /** of the configuration to write; the other files come beside it */
  readonly path: string
}

export interface InitResult {
  readonly files: readonly string[]
  readonly services: readonly { name: string; tables: string[]; crossing: string[] }[]
  readonly staying: readonly string[]
  readonly crossing: readonly { name: string; from: string; to: string }[]
  readonly withoutPrimaryKey: readonly string[]
}

const SCHEMA_FILE = 'migrate.schema.json'

/**
 * Writes a first configuration for this monolith, all files or none.
 * Throws FILE_EXISTS before anything is contacted; TABLE_UNKNOWN, NOTHING_TO_MOVE, DATABASE_*.
 */
export async function initProject({ from, services, path }: InitOptions): Promise<InitResult> {
  const folder = dirname(path)
  const names = { env: join(folder, '.env.example'), schema: join(folder, SCHEMA_FILE) }
  await refuseExisting([path, names.env, names.schema])

  const survey = await surveyOf(from)
  const proposal = Object.keys(services).length === 0 ? propose(nameable(survey)) : named(survey, services)
  if (proposal.services.length === 0) {
    throw new MigrateError('NOTHING_TO_MOVE', { address: parseLogin(from, 'monolith').address })
  }
  const files = await createFiles(
    [
      { path: names.schema, text: `${JSON.stringify(configJsonSchema(), null, 2)}\n` },
      { path: names.env, text: envTemplate(survey, proposal) },
      { path, text: configTemplate(survey, proposal, SCHEMA_FILE) },
    ],
    { path: join(folder, '.gitignore'), line: '.env' },
  )
  return { files, ...summary(survey, proposal) }
}

async function surveyOf(url: string): Promise<Survey> {
  await using database = openDatabase({
    url,
    role: 'monolith',
    applicationName: 'migrate/init',
    statementTimeout: 10_000,
    settings: { default_transaction_read_only: 'on', lock_timeout: '200ms' },
  })
  return await readSurvey(database)
}

/** What the configuration has a form for. */
function nameable(survey: Survey): Survey {
  return {
    ...survey,
    tables: survey.tables.filter(isNameable),
    keys: survey.keys.filter(({ from, to }) => isNameable(from) && isNameable(to)),
  }
}

function named(survey: Survey, services: InitOptions['services']): Proposal {
  const known = new Map(survey.tables.filter(isNameable).map((table) => [fullName(table), table]))
  const find = (text: string): SurveyTable => {
    const table = known.get(text.replace(/^public\./, ''))
    if (table !== undefined) return table
    const close = nearest(text, [...known.keys()])
    const suggestion = close === undefined ? '' : `. Did you mean "${close}"?`
    throw new MigrateError('TABLE_UNKNOWN', { role: 'monolith', table: text, suggestion })
  }
  const found = Object.entries(services).map(([name, tables]) => [name, tables.map(find)] as const)
  return proposeNamed(survey, Object.fromEntries(found))
}

function summary(survey: Survey, { services, staying }: Proposal): Omit<InitResult, 'files'> {
  const crossing = new Set(services.flatMap((service) => service.crossing))
  return {
    services: services.map(({ name, tables, crossing: keys }) => ({
      name,
      tables: tables.map(fullName),
      crossing: keys.map((key) => key.name),
    })),
    staying: staying.map(fullName),
    crossing: [...crossing].map(({ name, from, to }) => ({ name, from: fullName(from), to: fullName(to) })),
    withoutPrimaryKey: survey.tables.filter(({ primaryKey }) => primaryKey.length === 0).map(fullName),
  }
}
