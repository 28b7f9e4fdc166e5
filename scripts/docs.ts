// Writes docs/reference from the code: errors from the catalogue, config from the schema, commands from their help.
// `--check` writes nothing and fails when a page is stale.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checksPage } from './docs/checks-page.ts'
import { commandsPage } from './docs/commands-page.ts'
import { configPage } from './docs/config-page.ts'
import { errorsPage } from './docs/errors-page.ts'

const FOLDER = join(import.meta.dirname, '../docs/reference')
const PAGES = { 'errors.md': errorsPage, 'config.md': configPage, 'checks.md': checksPage, 'commands.md': commandsPage }

process.exitCode = docs(process.argv.includes('--check'))

function docs(checkOnly: boolean): number {
  const stale = Object.entries(PAGES)
    .map(([name, page]) => ({ path: join(FOLDER, name), text: page() }))
    .filter(({ path, text }) => !existsSync(path) || readFileSync(path, 'utf8') !== text)
  if (!checkOnly) mkdirSync(FOLDER, { recursive: true })
  for (const { path, text } of stale) {
    if (checkOnly) console.error(`${path} is stale; run npm run docs`)
    else writeFileSync(path, text)
  }
  return checkOnly && stale.length > 0 ? 1 : 0
}
