import { CATALOGUE, type CatalogueEntry, EXIT } from '../../src/errors.ts'

/** docs/reference/errors.md; a unit test reads its headings back and compares them with the catalogue. */
export function errorsPage(): string {
  const entries: [string, CatalogueEntry][] = Object.entries(CATALOGUE)
  return `# Errors

<!-- Generated from src/errors.ts by \`npm run docs\`. -->

Every error that \`migrate\` prints has a code. \`migrate explain CODE\` prints its entry below. With \`--json\` the code is
in \`issues[].code\`.

## Exit codes

| code | meaning |
|---|---|
${Object.entries(EXIT)
  .map(([name, code]) => `| ${code} | ${EXIT_MEANING[name as keyof typeof EXIT]} |`)
  .join('\n')}

A command that ended because of ^C or SIGTERM after everything was put in order exits 130 or 143; a second ^C within 3 s
ends it at once.

## Codes

${entries.map(([code, entry]) => section(code, entry)).join('\n')}`
}

const EXIT_MEANING: Record<keyof typeof EXIT, string> = {
  ok: 'done',
  failed: 'failed',
  usage: 'wrong usage or configuration; nothing was contacted',
  findings: 'findings: a check failed, or differences were found',
  gate: 'a gate is not met or a confirmation is missing; nothing has changed',
  locked: 'locked by another run',
  timeout: 'timeout; safe to run again',
  unavailable: 'a server is unavailable, also after retries',
  integrity: 'integrity stop: going on could lose or double data',
  interrupted: 'stopped by ^C, in order',
  terminated: 'stopped by SIGTERM, in order',
}

const RETRY: Record<CatalogueEntry['retry'], string> = {
  timed: 'by itself after a while',
  manual: 'after somebody has acted',
  never: 'does not help',
}

function section(code: string, { message, hint, retry, exit }: CatalogueEntry): string {
  return `### ${code}

${shown(message)}

- Do: ${shown(hint)}
- Retry: ${RETRY[retry]}
- Exit code: ${exit}
`
}

/** Placeholders in angle brackets, as in a synopsis; escaped, so that Markdown does not take them for HTML. */
function shown(template: string): string {
  return template
    .split('`')
    .map((part, at) => part.replace(/\{(\w+)\}/g, at % 2 === 1 ? '<$1>' : '\\<$1\\>'))
    .join('`')
}
