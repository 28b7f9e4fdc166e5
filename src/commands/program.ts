import { createRequire } from 'node:module'
import { Command, CommanderError } from 'commander'
import type { Environment } from '../config/environment.ts'
import { EXIT, type ExitCode, MigrateError } from '../errors.ts'
import type { CommandContext, CommandDefinition, GlobalOptions } from './command.ts'
import { reportFailure } from './failure.ts'
import type { Interrupts } from './interrupt.ts'
import type { Output } from './output.ts'

/** Parses the arguments, runs the command they name and returns the exit code. Prints every error itself. */
export async function runProgram(argv: readonly string[], frame: Frame): Promise<ExitCode> {
  const { output, interrupts } = frame
  try {
    await buildProgram(frame).parseAsync(argv, { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok
    if (isHelpInsteadOfCommand(error) && !output.json) return EXIT.usage
    if (isStop(error, interrupts)) return interrupts.code ?? EXIT.failed
    const failure = error instanceof CommanderError ? usage(error, commandIn(argv, frame.definitions)) : error
    return reportFailure(failure, output, argv.includes('-v') || argv.includes('--verbose'))
  }
  return output.code === EXIT.ok ? (interrupts.code ?? EXIT.ok) : output.code
}

export interface Frame {
  readonly definitions: readonly CommandDefinition[]
  readonly output: Output
  readonly interrupts: Pick<Interrupts, 'signal' | 'code'>
  readonly env: Environment
  /** where help goes; stdout of the process unless a test or the docs ask for it */
  readonly writeHelp?: (text: string) => void
}

/** The commander program of all commands. docs/reference/commands.md is printed from it. */
export function buildProgram(frame: Frame): Command {
  const program = new Command('migrate')
  // Both are inherited by subcommands only when set before these are added.
  program.exitOverride()
  program.configureOutput({
    ...(frame.writeHelp && { writeOut: frame.writeHelp }),
    writeErr: (text) => frame.output.json || frame.output.note(text),
    outputError: () => undefined,
  })
  program
    .description('Takes a PostgreSQL monolith apart into services, while both keep serving traffic.')
    .version(version(), '-V, --version', 'print the version')
    .option('-c, --config <path>', 'the configuration', 'migrate.yaml')
    .option('--env-file <path>', 'read variables for the configuration from this file too; the environment wins')
    .option('--json', 'print results as JSON, one object a line', false)
    .option('-v, --verbose', 'print causes and stack traces of errors', false)
    .option('--no-color', 'print no colours')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
  for (const definition of frame.definitions) add(program, definition, frame)
  return program
}

function add(parent: Command, definition: CommandDefinition, frame: Frame): void {
  const examples = definition.examples.map((line) => `  ${line}`).join('\n')
  const command = parent
    .command(definition.name)
    .description(definition.summary)
    .helpCommand(false)
    .addHelpText('after', `\nOptions of every command: migrate --help\n\nExamples:\n${examples}`)
  for (const subcommand of definition.subcommands ?? []) add(command, subcommand, frame)
  if (!('run' in definition)) return
  definition.configure?.(command)
  command.action(async () => {
    const context = contextOf(command.optsWithGlobals<GlobalOptions>(), frame)
    await definition.run(context, command.args, command.opts<never>())
  })
}

function contextOf(global: GlobalOptions, { output, interrupts, env }: Frame): CommandContext {
  output.proposeWith(givenOptions(global))
  return {
    signal: interrupts.signal,
    output,
    global,
    env,
    async loadConfig() {
      const { loadConfig } = await import('../config/load.ts')
      const { config: path, envFile } = global
      return await loadConfig({ path, env, ...(envFile !== undefined && { envFile }) })
    },
  }
}

/** Which configuration is meant: another one may be in the place of the default. */
function givenOptions({ config, envFile }: GlobalOptions): string {
  const quoted = (path: string): string => (/^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`)
  const from = envFile === undefined ? '' : ` --env-file ${quoted(envFile)}`
  return `${config === 'migrate.yaml' ? '' : ` -c ${quoted(config)}`}${from}`
}

function version(): string {
  const manifest: { version: string } = createRequire(import.meta.url)('monolith-migrate/package.json')
  return manifest.version
}

/** `migrate` or `migrate route` alone: commander has printed the help on stderr. */
function isHelpInsteadOfCommand(error: unknown): boolean {
  return error instanceof CommanderError && error.code === 'commander.help'
}

/** The command gave up because it was told to, not because something is wrong. */
function isStop(error: unknown, { signal }: Frame['interrupts']): boolean {
  if (!signal.aborted) return false
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause === signal.reason || cause.name === 'AbortError') return true
  }
  return false
}

/** commander's `error: unknown option '--jsn'\n(Did you mean --json?)` as one of ours. */
function usage(error: CommanderError, command: string): MigrateError {
  const text = isHelpInsteadOfCommand(error) ? 'no command given' : error.message
  const reason = text.replace(/^error: /, '').replace(/\s*\n\s*\((.*)\)\s*$/s, '. $1')
  return new MigrateError('USAGE', { reason, command }, { cause: error })
}

/** `migrate route set` for `-c x route set users`: the longest chain of known names, for the hint. */
function commandIn(argv: readonly string[], definitions: readonly CommandDefinition[]): string {
  let names = 'migrate'
  let known = definitions
  for (const word of argv) {
    const found = known.find((definition) => definition.name === word)
    if (found === undefined) continue
    names += ` ${word}`
    known = found.subcommands ?? []
  }
  return names
}
