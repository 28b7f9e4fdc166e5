import type { Command } from 'commander'
import { COMMANDS } from '../../src/commands/index.ts'
import { createOutput } from '../../src/commands/output.ts'
import { buildProgram } from '../../src/commands/program.ts'

/** docs/reference/commands.md: the text of every `--help`. */
export function commandsPage(): string {
  const silent = { write: () => true }
  const program = buildProgram({
    definitions: COMMANDS,
    output: createOutput({ stdout: silent, stderr: silent }, { json: false, color: false }),
    interrupts: { signal: new AbortController().signal, code: null },
    env: {},
  })
  return `# Commands

<!-- Generated from src/commands by \`npm run docs\`. -->

stdout carries the result, stderr progress and errors. Exit codes and error codes are in [errors.md](errors.md).

With \`--json\` stdout carries JSON, one object a line: events \`{"event": …}\` while a long command works, and at last the
result \`{"schema": "migrate.NAME/VERSION", "ok", "status": "ok" | "findings" | "action_required" | "error", "data",
"issues": [{"code", "severity", "message", "hint", "at"?}], "nextSteps": [{"cmd", "why"}]}\`. An error has the schema
\`migrate.error/1\`. A version of a schema grows when something a reader relies on changes; keys may be added.

Colours appear on terminals only, and not with \`NO_COLOR\`. On a terminal long commands draw at its bottom where they are;
with \`TERM=dumb\`, with \`CI\` set, and everywhere else they print lines, when nothing happens one every 10 s while they copy.

${sections(program, 'migrate').join('\n')}`
}

function sections(command: Command, name: string): string[] {
  const own = `## ${name}\n\n\`\`\`text\n${help(command)}\n\`\`\`\n`
  return [own, ...command.commands.flatMap((child) => sections(child, `${name} ${child.name()}`))]
}

/** As a terminal of 100 columns shows it. */
function help(command: Command): string {
  let text = ''
  command.configureOutput({ writeOut: (part) => (text += part), getOutHelpWidth: () => 100 })
  command.outputHelp()
  return text.trim()
}
