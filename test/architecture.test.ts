import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { violations } from './support/architecture.ts'

const ROOT = join(import.meta.dirname, '..')

describe('the architecture', () => {
  test('holds for every import of the source tree', () => {
    expect(violations(tree())).toEqual([])
  })
})

// A check that cannot fail is a defect: each rule is seen to fail on a planted file.
describe('the check of the architecture', () => {
  const clean = { 'src/sync/a.ts': "import { MigrateError } from '../errors.ts'", 'src/errors.ts': '' }

  test('accepts an import from a lower layer', () => {
    expect(planted(clean)).toEqual([])
  })

  test.each([
    ['an upward import', 'src/model/a.ts', "import { x } from '../sync/x.ts'", 'upward'],
    ['an upward import of a type', 'src/model/a.ts', "import type { X } from '../sync/x.ts'", 'upward'],
    ['an upward import for its effect', 'src/model/a.ts', "import '../sync/x.ts'", 'upward'],
    ['an upward import() of a type', 'src/model/a.ts', "export type X = import('../sync/x.ts').X", 'upward'],
    ['an upward re-export', 'src/model/a.ts', "export * from '../sync/x.ts'", 'upward'],
    ['an upward dynamic import', 'src/sync/b.ts', "export const x = () => import('../cutover/x.ts')", 'upward'],
    ['a sideways import', 'src/sync/b.ts', "export { x } from '../router/x.ts'", 'sideways'],
    ['a sideways import between stores and control', 'src/control/b.ts', "import '../stores/registry.ts'", 'sideways'],
    ['a folder without a layer', 'src/utils/a.ts', '', 'belongs to no layer'],
    ['fixtures in a feature', 'src/sync/b.ts', "import '../../fixtures/load/x.ts'", 'only src/commands/demo.ts'],
    ['fixtures at the top of the demo', 'src/commands/demo.ts', "import '../../fixtures/load/x.ts'", 'at its top'],
    ['src in a service', 'fixtures/services/users/main.ts', "import '../../../src/index.ts'", 'by its name only'],
    ['a driver in a feature', 'src/sync/b.ts', "import pg from 'pg'", 'belongs to src/stores/'],
    ['a driver in the control schema', 'src/control/b.ts', "import pg from 'pg'", 'belongs to src/stores/'],
    ['a deep import of a driver', 'src/control/b.ts', "import x from 'pg/lib/utils.js'", 'belongs to src/stores/'],
    [
      'logical replication in another store',
      'src/stores/kafka/b.ts',
      "import 'pg-logical-replication'",
      'belongs to src/stores/postgres/',
    ],
    ['a second retry', 'src/sync/b.ts', "import retry from 'p-retry'", 'belongs to src/retry.ts'],
    ['undici outside of the router', 'src/sync/b.ts', "import { Pool } from 'undici'", 'not drivers'],
    ['a connection in a feature', 'src/cutover/b.ts', "import net from 'node:net'", 'not connections'],
    ['a driver in the options of a store', 'src/stores/postgres/options.ts', "import 'pg'", 'never load its driver'],
    ['process.env', 'src/sync/b.ts', 'export const x = process.env.X', 'reads the environment'],
    ['env taken out of process', 'src/app.ts', 'const { env } = process', 'reads the environment'],
    ['an import that cannot be read', 'src/app.ts', 'export const f = (x: string) => import(x)', 'literal path'],
  ])('refuses %s', (_, path, text, expected) => {
    const found = planted({ ...clean, [path]: text })
    expect(found).toHaveLength(1)
    expect(found[0]).toContain(expected)
  })

  test.each([
    ['undici in the router', 'src/router/b.ts', "import { Pool } from 'undici'"],
    ['node:http in dual writes', 'src/dualwrite/b.ts', "import http from 'node:http'"],
    ['pg in a store', 'src/stores/postgres/b.ts', "import pg from 'pg'"],
    ['the environment in config', 'src/config/b.ts', 'export const x = process.env'],
    [
      'fixtures when the demo runs',
      'src/commands/demo.ts',
      "export const run = () => import('../../fixtures/demo.ts')",
    ],
    ['the package in a service', 'fixtures/services/users/main.ts', "import 'monolith-migrate'"],
  ])('accepts %s', (_, path, text) => {
    expect(planted({ ...clean, [path]: text })).toEqual([])
  })

  test('refuses a tree in which it finds no imports', () => {
    expect(planted({ 'src/errors.ts': 'export const x = 1' })).toEqual(['no import between the parts of src was found'])
  })
})

function planted(files: Readonly<Record<string, string>>): string[] {
  return violations(new Map(Object.entries(files)))
}

function tree(): Map<string, string> {
  const paths = ['src', 'fixtures/services'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
  )
  const modules = paths.filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))
  return new Map(modules.map((path) => [path, readFileSync(join(ROOT, path), 'utf8')]))
}
