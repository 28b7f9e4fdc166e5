import { CHECKS } from '../../src/stores/postgres/checks/index.ts'

/** docs/reference/checks.md */
export function checksPage(): string {
  return `# Checks

<!-- Generated from src/stores/postgres/checks by \`npm run docs\`. -->

\`migrate check\` looks for all of these in sessions that cannot write; \`migrate sync\` looks too and refuses on errors.
A warning has to be dealt with before the step that it names, info is good to know. \`migrate check --fix-sql\` prints the
SQL that removes what was found; [how-to/check.md](../how-to/check.md) says how to run it.

| check | worst | looks for | why |
|---|---|---|---|
${CHECKS.map(({ id, severity, looksFor, why }) => `| \`${id}\` | ${severity} | ${looksFor} | ${why} |`).join('\n')}
`
}
