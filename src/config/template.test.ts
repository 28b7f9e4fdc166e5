import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { expect, test } from 'vitest'
import { proposeNamed } from '../analyze/propose.ts'
import type { Survey, SurveyTable } from '../analyze/survey.ts'
import { loadConfig } from './load.ts'
import { configTemplate, envTemplate, isNameable } from './template.ts'

const PLAIN = tableOf('users')
const ODD = ['true', '123', '#x', "o'clock", '{a}', '&x', 'Ünï', '🙂', '-', '${HOME}', 'a:b', '|'].map((name) =>
  tableOf(name),
)

test('is valid once the variables are set, whatever the names are', async () => {
  const tables = [PLAIN, ...ODD, { ...PLAIN, schema: 'sales' }, { ...tableOf('heap'), primaryKey: [] }]
  const survey = surveyOf('Shop: "1"\n2', tables)
  const proposal = proposeNamed(survey, { yes: tables, 'b-c': [tableOf('other')] })
  const config = await load(configTemplate(survey, proposal, 'x.json'), envTemplate(survey, proposal))
  expect(config.project).toBe('shop_1_2')
  expect(Object.keys(config.services['yes']?.tables ?? {}).toSorted()).toEqual(
    ['users', ...ODD.map(({ name }) => name), 'sales.users', 'heap'].toSorted(),
  )
  expect(config.services['b-c']?.stores).toEqual([
    { kind: 'postgres', url: 'postgres://migrate_apply:PASSWORD@HOST:5432/b-c' },
  ])
})

test('names what was found in comments of one line', () => {
  const survey = surveyOf('shop', [PLAIN, { ...tableOf('audit\n- evil'), primaryKey: [] }])
  const key = { name: 'fk\nevil: 1', from: tableOf('orders'), to: PLAIN, cascades: false }
  const { services, staying } = proposeNamed({ ...survey, keys: [key] }, { users: [PLAIN] })
  const text = configTemplate(survey, { services, staying }, 'migrate.schema.json')
  expect(text).toMatch(/^# yaml-language-server: \$schema=\.\/migrate\.schema\.json\n/)
  expect(text).toContain('#   fk evil: 1: orders → users\n')
  expect(text).toContain('#   audit - evil  1,234 rows, 8 KiB, no primary key\n')
  expect(text).not.toMatch(/^\s*(- )?evil/m)
})

test.each(['a.b', 'a b', 'a"b', '*', 'a\tb', ''])('a table called %j has no form in the configuration', (name) => {
  expect(isNameable(tableOf(name))).toBe(false)
})

async function load(text: string, variables: string) {
  const folder = mkdtempSync(join(tmpdir(), 'migrate-template-'))
  try {
    const path = join(folder, 'migrate.yaml')
    writeFileSync(path, text)
    return await loadConfig({ path, env: parseEnv(variables) })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function tableOf(name: string): SurveyTable {
  return { schema: 'public', name, rows: 1234, bytes: 8000, primaryKey: ['id'], numbered: true }
}

function surveyOf(database: string, tables: readonly SurveyTable[]): Survey {
  return { database, version: '18.4', tables, keys: [], logins: ['shop_app'] }
}
