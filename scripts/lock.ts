// npm leaves platform packages out of package-lock.json when the registry at hand lacks them, and `npm ci` then refuses
// the lock. This adds an entry for each; `--check` only looks, and also refuses registry addresses and loose versions.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const LOCK = join(ROOT, 'package-lock.json')
// The words for them in the names of packages; npm's own words but for one.
const OS = 'darwin linux win32 windows android freebsd netbsd openbsd sunos aix openharmony'.split(' ')
const CPU = 'x64 arm64 arm ia32 ppc64 riscv64 s390x loong64 mips64el wasm32'.split(' ')

process.exitCode = lock(process.argv.includes('--check'))

function lock(checkOnly: boolean): number {
  const content: Lockfile = JSON.parse(readFileSync(LOCK, 'utf8'))
  const missing = missingPlatforms(content.packages)
  if (!checkOnly && missing.length > 0) {
    for (const { path, entry } of missing) content.packages[path] = entry
    content.packages = Object.fromEntries(Object.entries(content.packages).sort(([a], [b]) => a.localeCompare(b, 'en')))
    writeFileSync(LOCK, `${JSON.stringify(content, null, 2)}\n`)
    console.log(`added ${missing.length} platform package(s) to package-lock.json`)
  }

  const problems = [
    ...(checkOnly ? missing.map(({ path }) => `${path} is missing; run npm run lock`) : []),
    ...addresses(content.packages),
    ...['', 'runtime'].flatMap((workspace) => looseOrStale(workspace, content.packages)),
  ]
  for (const problem of problems) console.error(`package-lock.json: ${problem}`)
  return problems.length === 0 ? 0 : 1
}

interface Lockfile {
  packages: Packages
}

type Packages = Record<string, Entry>
type Versions = Readonly<Record<string, string>>

interface Entry extends Dependencies {
  readonly version?: string
  readonly resolved?: string
  readonly link?: boolean
  readonly dev?: boolean
  readonly optional?: boolean
  readonly devOptional?: boolean
  readonly os?: readonly string[]
  readonly cpu?: readonly string[]
  readonly libc?: readonly string[]
}

interface Dependencies {
  readonly dependencies?: Versions
  readonly devDependencies?: Versions
  readonly optionalDependencies?: Versions
}

function missingPlatforms(packages: Packages): { path: string; entry: Entry }[] {
  return Object.entries(packages).flatMap(([parent, { optionalDependencies = {}, dev }]) =>
    Object.entries(optionalDependencies)
      .filter(([name]) => !isLocked(name, parent, packages))
      .map(([name, range]) => ({
        path: `node_modules/${name}`,
        entry: lockEntry(range.replace(/^[~^]/, ''), platformOf(name), dev === true),
      })),
  )
}

/** Looks where Node.js would: in the parent's own node_modules, then in those further up. */
function isLocked(name: string, parent: string, packages: Packages): boolean {
  for (let folder = parent; ; folder = folder.replace(/(^|\/)(node_modules\/)?(@[^/]+\/)?[^/]+$/, '')) {
    if (packages[`${folder}${folder === '' ? '' : '/'}node_modules/${name}`] !== undefined) return true
    if (folder === '') return false
  }
}

/** In the order in which npm writes the keys, so that the next install changes nothing. */
function lockEntry(version: string, { cpu, libc, os }: Platform, dev: boolean): Entry {
  return {
    version,
    cpu: [cpu],
    ...(dev && { dev }),
    ...(libc !== undefined && { libc: [libc] }),
    optional: true,
    ...(os !== undefined && { os: [os] }),
  }
}

interface Platform {
  readonly cpu: string
  readonly libc: string | undefined
  readonly os: string | undefined
}

/** Reads `linux-x64-musl` and the like out of a package's name. */
function platformOf(name: string): Platform {
  const words = name.split(/[/-]/)
  const os = OS.find((word) => words.includes(word))?.replace('windows', 'win32')
  const cpu = CPU.find((word) => words.includes(word))
  if (cpu === undefined || (os === undefined && cpu !== 'wasm32')) throw new Error(`no platform in the name ${name}`)
  const libc = words.map((word) => /^(musl|gnu)/.exec(word)?.[1]).find((word) => word !== undefined)
  return { cpu, libc: libc === 'gnu' ? 'glibc' : libc, os }
}

/** An address of one registry would break every machine that uses another. */
function addresses(packages: Packages): string[] {
  return Object.entries(packages)
    .filter(([, { resolved, link }]) => resolved !== undefined && link !== true)
    .map(([path]) => `${path} has a "resolved" address; remove it (npm config: omit-lockfile-registry-resolved)`)
}

/** Versions are exact, and the lock was made from the manifest as it is. */
function looseOrStale(workspace: string, packages: Packages): string[] {
  const manifest: Dependencies = JSON.parse(readFileSync(join(ROOT, workspace, 'package.json'), 'utf8'))
  const locked = packages[workspace] ?? {}
  return (['dependencies', 'devDependencies', 'optionalDependencies'] as const).flatMap((kind) => {
    // npm notes optional dependencies under both headings.
    const noted = { ...locked.optionalDependencies, ...locked[kind] }
    return Object.entries(manifest[kind] ?? {}).flatMap(([name, version]) => [
      ...(/^\d/.test(version) ? [] : [`${name} has the version ${version} in package.json; give an exact one`]),
      ...(noted[name] === version
        ? []
        : [`${name} is ${noted[name] ?? 'absent'} instead of ${version}; run npm install`]),
    ])
  })
}
