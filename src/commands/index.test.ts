import { expect, test } from 'vitest'
import type { CommandDefinition, LeafDefinition } from './command.ts'
import { COMMANDS } from './index.ts'
import { createOutput } from './output.ts'
import { buildProgram } from './program.ts'

test.each(leaves(COMMANDS).map(({ names, leaf }) => [names.join(' '), leaf] as const))(
  'the examples of migrate %s call it',
  (name, { examples }) => {
    for (const example of examples) expect(example).toContain(`migrate ${name}`)
  },
)

test('no command has an option that hides a global one', () => {
  const silent = { write: () => true }
  const program = buildProgram({
    definitions: COMMANDS,
    output: createOutput({ stdout: silent, stderr: silent }, { json: false, color: false }),
    interrupts: { signal: new AbortController().signal, code: null },
    env: {},
  })
  const global = program.options.flatMap(({ short, long }) => [short, long])
  const walk = (command: typeof program): string[] =>
    command.commands
      .flatMap((child) => [...child.options.flatMap(({ short, long }) => [short, long]), ...walk(child)])
      .filter((flag) => flag !== undefined)
  expect(walk(program).filter((flag) => global.includes(flag))).toEqual([])
})

interface Leaf {
  readonly names: readonly string[]
  readonly leaf: LeafDefinition<never>
}

function leaves(definitions: readonly CommandDefinition[], above: readonly string[] = []): Leaf[] {
  return definitions.flatMap((definition) => {
    const names = [...above, definition.name]
    const own = 'run' in definition ? [{ names, leaf: definition }] : []
    return [...own, ...leaves(definition.subcommands ?? [], names)]
  })
}
