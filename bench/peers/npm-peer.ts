import { readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { cachedFolder, cachePath } from '../../fixtures/servers/cached-folder.ts'
import { runToEnd } from '../../fixtures/servers/run-to-end.ts'

/** Loads a package that is only a peer of a benchmark, pinned, from the user's cache; it is installed at first use. */
export async function npmPeer<Module>(name: string, version: string): Promise<Module> {
  const folder = await cachedFolder(
    cachePath(`peer-${name.replace(/\W+/g, '-')}`, { name, version }),
    async (made, watching) => {
      await writeFile(join(made, 'package.json'), JSON.stringify({ private: true, dependencies: { [name]: version } }))
      const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts']
      const { ok, said } = await runToEnd('npm', args, { folder: made, watching })
      if (!ok) throw new Error(`${name} ${version} could not be installed: ${said}`)
    },
  )
  const found = JSON.parse(await readFile(join(folder, 'node_modules', name, 'package.json'), 'utf8')) as {
    version: string
  }
  if (found.version !== version) throw new Error(`${name} is ${found.version}, not ${version}`)
  const path = createRequire(join(folder, 'package.json')).resolve(name)
  return (await import(pathToFileURL(path).href)) as Module
}
