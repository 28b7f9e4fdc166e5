import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MigrateError } from '../errors.ts'
import { createFileOf, createFiles, refuseExisting } from './create-files.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'migrate-files-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

test('creates all files and adds the line', async () => {
  write('.gitignore', 'dist/')
  expect(await create('a', 'b')).toEqual([at('.gitignore'), at('a'), at('b')])
  expect(contents()).toEqual({ '.gitignore': 'dist/\n.env\n', a: 'text of a', b: 'text of b' })
})

test.each(['.env\n', 'x\r\n/.env\r\n', '.env*', ' *.env \n'])('adds no line to %j', async (text) => {
  write('.gitignore', text)
  expect(await create('a')).toEqual([at('a')])
  expect(contents()['.gitignore']).toBe(text)
})

test.each([
  ['', '.env\n'],
  ['a\r\nb', 'a\r\nb\r\n.env\r\n'],
])('keeps the line ends of %j', async (before, after) => {
  write('.gitignore', before)
  await create('a')
  expect(contents()['.gitignore']).toBe(after)
})

test('makes no .gitignore', async () => {
  await create('a')
  expect(Object.keys(contents())).toEqual(['a'])
})

test('leaves nothing behind when one file is there, and does not touch that one', async () => {
  write('.gitignore', 'dist/')
  write('b', 'mine')
  await expect(create('a', 'b', 'c')).rejects.toMatchObject({ code: 'FILE_EXISTS', context: { path: at('b') } })
  expect(contents()).toEqual({ '.gitignore': 'dist/', b: 'mine' })
})

test('leaves nothing behind when a file cannot be written', async () => {
  await expect(create('a', 'gone/b')).rejects.toMatchObject({
    code: 'FILE_UNWRITABLE',
    context: { path: at('gone/b'), reason: 'ENOENT' },
  })
  expect(contents()).toEqual({})
})

test('refuses a name under which anything is', async () => {
  mkdirSync(at('folder'))
  await expect(refuseExisting([at('a'), at('folder')])).rejects.toMatchObject({ context: { path: at('folder') } })
  await refuseExisting([at('a'), at('gone/b')])
})

function create(...names: string[]): Promise<string[]> {
  const files = names.map((name) => ({ path: at(name), text: `text of ${name}` }))
  return createFiles(files, { path: at('.gitignore'), line: '.env' })
}

function at(name: string): string {
  return join(folder, name)
}

function write(name: string, text: string): void {
  writeFileSync(at(name), text)
}

function contents(): Record<string, string> {
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(at(name), 'utf8')]))
}

test('a file of parts: complete or not there, and never replaced', async () => {
  const parts = async function* (fails: boolean) {
    yield 'one\n'
    if (fails) throw new MigrateError('EVENTING_MISSING', { service: 'orders' })
    yield 'two\n'
  }
  await expect(createFileOf({ path: at('a'), text: parts(true) })).rejects.toMatchObject({ code: 'EVENTING_MISSING' })
  expect(contents()).toEqual({})
  await createFileOf({ path: at('a'), text: parts(false), mode: 0o600 })
  await expect(createFileOf({ path: at('a'), text: parts(false) })).rejects.toMatchObject({ code: 'FILE_EXISTS' })
  await expect(createFileOf({ path: at('no/a'), text: 'x' })).rejects.toMatchObject({ code: 'FILE_UNWRITABLE' })
  expect(contents()).toEqual({ a: 'one\ntwo\n' })
})
