import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { asMigrateError, CATALOGUE, type CatalogueEntry, EXIT, MigrateError } from './errors.ts'

const PAGE = readFileSync(join(import.meta.dirname, '../docs/reference/errors.md'), 'utf8')

describe('docs/reference/errors.md', () => {
  test('describes every error of the catalogue, and no other', () => {
    const described = [...PAGE.matchAll(/^### (\w+)$/gm)].map((match) => match[1])
    expect(described).toEqual(Object.keys(CATALOGUE))
  })

  test('gives the exit code of each', () => {
    const exits = [...PAGE.matchAll(/^- Exit code: (\d+)$/gm)].map((match) => Number(match[1]))
    expect(exits).toEqual(Object.values<CatalogueEntry>(CATALOGUE).map(({ exit }) => exit))
  })

  test('gives every exit code', () => {
    const codes = [...PAGE.matchAll(/^\| (\d+) \|/gm)].map((match) => Number(match[1]))
    expect(codes).toEqual(Object.values(EXIT))
  })
})

describe('MigrateError', () => {
  test('fills message and hint from its context', () => {
    const error = new MigrateError('CONFIG_VARIABLE_UNSET', { at: 'a.yaml:1:2', variable: 'X' })
    expect(error.message).toBe('a.yaml:1:2: the environment variable X is not set')
    expect(error.hint).toContain('${X:-value}')
    expect(error).toMatchObject({ retry: 'manual', exit: 2 })
  })

  test('leaves a placeholder that the context lacks, and does not fill what it filled in', () => {
    expect(new MigrateError('USAGE', { reason: 'no {command}', command: 'x' }).message).toBe('no {command}')
    expect(new MigrateError('USAGE').message).toBe('{reason}')
  })

  test('makes INTERNAL of a stranger and keeps it as the cause', () => {
    const stranger = new TypeError('x is not a function')
    expect(asMigrateError(stranger)).toMatchObject({ code: 'INTERNAL', exit: 1, cause: stranger })
    expect(asMigrateError('text').message).toContain('text')
  })

  test('stays the same when it is one already', () => {
    const error = new MigrateError('LOCKED')
    expect(asMigrateError(error)).toBe(error)
  })
})
