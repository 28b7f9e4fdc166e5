// The ports of a move in memory: what is not given fails the test that comes to it.
import type { MovePorts } from '../../src/cutover/ports.ts'
import type { RunContext } from '../../src/cutover/run.ts'

/** A context whose ports note their calls; `ports` says what the calls of the test answer. */
export function memoryRun(
  kind: RunContext['kind'],
  ports: Partial<MovePorts>,
): RunContext & { readonly calls: string[] } {
  const calls: string[] = []
  const all = new Proxy(ports, {
    get:
      (given, name: string) =>
      (...args: unknown[]) => {
        calls.push(name)
        const call = (given as Record<string, ((...args: unknown[]) => unknown) | undefined>)[name]
        if (call === undefined) throw new Error(`the test did not expect ${name}`)
        return call(...args)
      },
  }) as MovePorts
  return {
    calls,
    service: 'users',
    kind,
    run: 7,
    epoch: 3,
    ports: all,
    journal: { begin: () => Promise.resolve(), end: () => Promise.resolve() },
    signal: new AbortController().signal,
    maxWriteOutage: 3_000,
    onStep: () => undefined,
    failpoint: () => Promise.resolve(),
  }
}
