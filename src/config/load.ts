import { readFile } from 'node:fs/promises'
import { parseEnv } from 'node:util'
import { MigrateError } from '../errors.ts'
import type { Environment } from './environment.ts'
import { interpolate } from './interpolate.ts'
import { firstIssue } from './issues.ts'
import { codeOf, readText } from './read-text.ts'
import { type Config, configSchema } from './schema.ts'
import { openYaml } from './yaml-source.ts'

/**
 * Reads and validates the configuration. Contacts nothing, and no message repeats the value of a variable.
 * Throws CONFIG_MISSING, CONFIG_SYNTAX, CONFIG_UNKNOWN_KEY, CONFIG_INVALID, CONFIG_VARIABLE_UNSET,
 * CONFIG_FILE_UNREADABLE.
 */
export async function loadConfig(location: ConfigLocation): Promise<Config> {
  return (await readParts(location)).config
}

export interface ConfigLocation {
  readonly path: string
  /** more variables, in the form `NAME=value`; the environment wins */
  readonly envFile?: string
  readonly env: Environment
}

/** The configuration with what it was made of. Throws as `loadConfig`. */
export async function readParts({ path, envFile, env }: ConfigLocation): Promise<ConfigParts> {
  const text = await readConfig(path)
  const source = openYaml(text, path)
  const fromFile = envFile === undefined ? {} : await readEnvFile(envFile)
  await interpolate(source.document, { path, env: { ...fromFile, ...env }, place: source.place })

  const value: unknown = source.toValue()
  const parsed = configSchema.safeParse(value)
  if (!parsed.success) throw firstIssue(parsed.error.issues, value, source)
  return { config: parsed.data, text, fromFile }
}

export interface ConfigParts {
  readonly config: Config
  /** the file as it was written */
  readonly text: string
  /** the variables of --env-file */
  readonly fromFile: Environment
}

async function readConfig(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw new MigrateError('CONFIG_MISSING', { path }, { cause: error })
    return await readText(path, { at: '--config', file: path })
  }
}

async function readEnvFile(file: string): Promise<Environment> {
  return parseEnv(await readText(file, { at: '--env-file', file }))
}
