// The frame that every command uses.
//
// A command is one file in this folder that exports a CommandDefinition, and one line in index.ts:
//
//   export const status = defineCommand<{ watch?: true }>({
//     name: 'status',                                // `users <service>` arguments belong into configure
//     summary: 'Show where every service stands',
//     examples: ['migrate status', 'migrate status users', 'migrate status --json'],
//     configure: (command) => command.argument('[service]', 'only this service').option('--watch', 'go on until ^C'),
//     async run({ signal, output, loadConfig }, [service], options) {
//       const { readStatus } = await import('../app.ts')  // heavy modules are imported here, never at the top
//       ...
//       output.result({ schema: 'migrate.status/1', status: 'ok', data, nextSteps: [{ cmd, why }] }, (ansi) => text)
//     },
//   })
//
// A group (`route serve|set|show`) has `subcommands` instead of `configure` and `run`; a command may have both (`sync
// users`, `sync ctl pause users`).
// Throw a MigrateError to fail: the frame prints it and sets its exit code. The status of a result sets the exit code
// too (ok 0, error 1, findings 3, action_required 4); `output.exit(code)` overrides it. When `signal` aborts, stop in
// order and return or throw `signal.reason`: the frame exits 130 or 143. stdout gets the result only; progress is a line
// on stderr, or with --json one NDJSON event on stdout. The frame prints `nextSteps` as a `Next:` block after the text.
import type { Command } from 'commander'
import type { Environment } from '../config/environment.ts'
import type { Config } from '../config/schema.ts'
import type { Output } from './output.ts'

/** Types the options of a command and hides that type from the list of commands. */
export function defineCommand<Options extends object>(definition: LeafDefinition<Options>): CommandDefinition {
  return definition as LeafDefinition<never>
}

export type CommandDefinition = LeafDefinition<never> | GroupDefinition

export interface LeafDefinition<Options> {
  readonly name: string
  readonly summary: string
  readonly examples: readonly [string, string, string]
  /** adds arguments and options */
  readonly configure?: (command: Command) => unknown
  readonly run: (context: CommandContext, args: readonly string[], options: Options) => Promise<void>
  readonly subcommands?: readonly CommandDefinition[]
}

export interface GroupDefinition {
  readonly name: string
  readonly summary: string
  readonly examples: readonly [string, string, string]
  readonly subcommands: readonly CommandDefinition[]
}

export interface CommandContext {
  /** aborts at SIGINT and SIGTERM, and when nobody reads stdout any more */
  readonly signal: AbortSignal
  readonly output: Output
  readonly global: GlobalOptions
  /** the variables of this process */
  readonly env: Environment
  readonly loadConfig: () => Promise<Config>
}

export interface GlobalOptions {
  readonly config: string
  readonly envFile?: string
  readonly json: boolean
  readonly verbose: boolean
  readonly color: boolean
}
