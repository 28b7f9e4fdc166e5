import { CATALOGUE, type CatalogueEntry, type ErrorCode, MigrateError } from '../errors.ts'
import { keyValues } from '../ui/text.ts'
import { nearest } from '../config/nearest.ts'
import { defineCommand } from './command.ts'

export const explain = defineCommand({
  name: 'explain',
  summary: 'Say what an error code means and what to do about it',
  examples: ['migrate explain SLOT_LOST', 'migrate explain gate_failed', 'migrate explain LOCKED --json'],
  configure: (command) => command.argument('<code>', 'an error code, as printed behind the ✖'),
  async run({ output }, [given = '']) {
    const code = given.toUpperCase().replaceAll('-', '_')
    if (!isErrorCode(code)) throw unknown(given, code)
    const entry: CatalogueEntry = CATALOGUE[code]
    output.result({ schema: 'migrate.explain/1', status: 'ok', data: { code, ...entry } }, (ansi) =>
      keyValues(
        [
          ['code', ansi.bold(code)],
          ['message', entry.message],
          ['do', entry.hint],
          ['retry', RETRY_TEXT[entry.retry]],
          ['exit code', String(entry.exit)],
        ],
        ansi,
      ),
    )
  },
})

const RETRY_TEXT: Record<CatalogueEntry['retry'], string> = {
  timed: 'by itself after a while',
  manual: 'after somebody has acted',
  never: 'does not help',
}

function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(CATALOGUE, text)
}

function unknown(given: string, code: string): MigrateError {
  const close = nearest(code, Object.keys(CATALOGUE))
  const suggestion = close === undefined ? '' : `. Did you mean ${close}?`
  return new MigrateError('USAGE', {
    reason: `there is no error code ${JSON.stringify(given)}${suggestion}`,
    command: 'migrate explain',
  })
}
