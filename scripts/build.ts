// Compiles src and fixtures into dist, copies their .sql and .yaml, and removes outputs whose source is gone.
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const DIST = join(ROOT, 'dist')
const FOLDERS = ['src', 'fixtures']
const ASSET = /\.(sql|yaml|java)$/
const OUTPUT = /\.(js\.map|js|d\.ts)$/
const BUILD_INFO = join(DIST, '.tsbuildinfo')

process.exitCode = build()

function build(): number {
  const sources = FOLDERS.flatMap((folder) => files(join(ROOT, folder)))
  const modules = sources.filter((file) => file.endsWith('.ts') && !/\.(test|d)\.ts$/.test(file))
  // The incremental compiler trusts its notes: an output deleted by hand would never come back.
  if (!modules.every((file) => existsSync(output(file)))) rmSync(BUILD_INFO, { force: true })

  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
  const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
    cwd: ROOT,
    stdio: 'inherit',
  })
  for (const file of sources.filter((name) => ASSET.test(name))) copy(file)
  for (const file of FOLDERS.flatMap((folder) => files(join(DIST, folder)))) removeStale(file)

  const bin = join(DIST, 'src/cli.js')
  if (existsSync(bin)) chmodSync(bin, 0o755)
  return status ?? 1
}

function files(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

function output(source: string): string {
  return join(DIST, source.slice(ROOT.length + 1)).replace(/\.ts$/, '.js')
}

function copy(asset: string): void {
  mkdirSync(dirname(output(asset)), { recursive: true })
  cpSync(asset, output(asset))
}

/** Asks for each output whether its source still exists at this moment, so that two builds at once do not fight. */
function removeStale(file: string): void {
  const source = join(ROOT, file.slice(DIST.length + 1)).replace(OUTPUT, '.ts')
  if (!existsSync(source) || source.endsWith('.test.ts')) rmSync(file, { force: true })
}
