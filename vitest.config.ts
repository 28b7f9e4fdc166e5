import { join, relative } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const INT = '**/*.int.test.ts'
const E2E = 'test/e2e/**/*.e2e.test.ts'
// Their tests measure no time, or many seconds, so they may wait for each other; the longest first, or the last one runs alone.
const TOGETHER = `
  sync-kills slot-guard reconcile consumer demo letters cutover-abort demo-ends cli-refusals
  cutover-kill legs flips relay slot-lost order-flow slot-back route-outage legs-plain sync sagas
  legs-servers routers-lost cutover-late kills sync-zombie asleep orders terminal cli
  sync-streamed status wrong-input init events alerts messaging-docs saga-cli dlq-consumer
  saga-tutorial events-docs cutover-chaos`
  .trim()
  .split(/\s+/)
  .map((name) => `test/e2e/${name}.e2e.test.ts`)
// Vitest goes by the size of a file where it has not run it before, as in CI; these wait for servers to start.
const LONG = [
  ...TOGETHER,
  'fixtures/servers/kafka.int.test.ts',
  'src/stores/kafka/consume.int.test.ts',
  'src/notify/sagas.int.test.ts',
]
// They measure the memory of their process.
const PROCESS = ['test/traps/**/*.int.test.ts']
// They measure time.
const TIMED = ['src/router/*.int.test.ts', 'src/dualwrite/*.int.test.ts']
const WITH_SERVERS = { testTimeout: 60_000, hookTimeout: 60_000 }
const WITH_PROGRAMS = { testTimeout: 300_000, hookTimeout: 120_000 }
const NEVER = ['**/node_modules/**', 'dist/**']

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = LONG.indexOf(relative(import.meta.dirname, moduleId))
      return at < 0 ? LONG.length : at
    }
    const group = ({ project }: TestSpecification): number => project.config.sequence.groupOrder
    return (await super.sort(files)).toSorted((a, b) => group(a) - group(b) || rank(a) - rank(b))
  }
}

export default defineConfig({
  // The services import the package by its name, as a user's would; the tests run it from source.
  resolve: { alias: { 'monolith-migrate': join(import.meta.dirname, 'src/index.ts') } },
  test: {
    environment: 'node',
    teardownTimeout: 30_000,
    sequence: { sequencer: LongestFirst },
    // One group after the other: tests with time limits do not share the cores with the rest.
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'fixtures/**/*.test.ts', 'test/architecture.test.ts'],
          exclude: [...NEVER, INT, E2E],
          // they keep no state of their process, and half of their time is loading modules
          isolate: false,
        },
      },
      {
        extends: true,
        test: {
          name: 'int',
          sequence: { groupOrder: 1 },
          include: [INT],
          exclude: [...NEVER, ...PROCESS, ...TIMED],
          isolate: false,
          maxWorkers: 3,
          ...WITH_SERVERS,
        },
      },
      {
        extends: true,
        test: {
          name: 'int-process',
          sequence: { groupOrder: 1 },
          include: PROCESS,
          exclude: NEVER,
          maxWorkers: 3,
          ...WITH_SERVERS,
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e-together',
          sequence: { groupOrder: 2 },
          include: TOGETHER,
          exclude: NEVER,
          isolate: false,
          maxWorkers: 2,
          ...WITH_PROGRAMS,
        },
      },
      {
        extends: true,
        test: {
          name: 'int-timed',
          sequence: { groupOrder: 3 },
          include: TIMED,
          exclude: NEVER,
          fileParallelism: false,
          ...WITH_SERVERS,
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          sequence: { groupOrder: 3 },
          include: [E2E],
          exclude: [...NEVER, ...TOGETHER],
          fileParallelism: false,
          ...WITH_PROGRAMS,
        },
      },
    ],
  },
})
