import { spawnSync } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

/** Blocks of code of a page of docs/, by language. */
export async function codeBlocks(page: string, language: string): Promise<string[]> {
  const text = await readFile(join(ROOT, 'docs', page), 'utf8')
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)]
    .filter(([, name]) => name === language)
    .map(([, , block]) => block ?? '')
}

/** Programs made of the TypeScript of pages, in a folder inside the package, so that its own name leads to what was built. */
export interface Documented extends AsyncDisposable {
  /** the program of a page */
  program(page: string): string
}

/** Writes them, and expects that they have the types that they need. */
export async function documentedPrograms(name: string, pages: readonly string[]): Promise<Documented> {
  const folder = join(ROOT, 'dist/examples', name)
  const program = (page: string): string => join(folder, `${page.replaceAll(/\W/g, '-')}.ts`)
  await mkdir(folder, { recursive: true })
  for (const page of pages) {
    const code = await codeBlocks(page, 'ts')
    expect(code.length).toBeGreaterThan(1)
    await writeFile(program(page), code.join('\n'))
  }
  // without outDir the files of dist would be passed over
  const compilerOptions = { rootDir: '../../..', outDir: './out' }
  const config = { extends: '../../../tsconfig.json', compilerOptions, include: ['*.ts'] }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const { stdout, stderr } = spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' })
  expect(stdout + stderr).toBe('')
  return {
    program,
    async [Symbol.asyncDispose]() {
      await rm(folder, { recursive: true, force: true })
    },
  }
}
