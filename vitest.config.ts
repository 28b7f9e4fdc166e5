import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

const INT = '**/*.int.test.ts'
const E2E = 'test/e2e/**/*.e2e.test.ts'
// They wait more than they work, and measure no time: two at once take little more than half as long.
const TOGETHER = [
  ...['alerts', 'cli-refusals', 'consumer', 'demo-ends', 'dlq-consumer', 'events', 'events-docs', 'init'],
  ...['kills', 'legs-plain', 'letters', 'messaging-docs', 'orders', 'reconcile', 'relay', 'routers-lost', 'slot-back'],
  ...[
    'slot-guard',
    'slot-lost',
    'sync-kills',
    'sync-streamed',
    'sync-zombie',
    'terminal',
    'order-flow',
    'sagas',
    'saga-cli',
    'saga-tutorial',
  ],
].map((name) => `test/e2e/${name}.e2e.test.ts`)
const NEVER = ['**/node_modules/**', 'dist/**']

export default defineConfig({
  // The services import the package by its name, as a user's would; the tests run it from source.
  resolve: { alias: { 'monolith-migrate': join(import.meta.dirname, 'src/index.ts') } },
  test: {
    environment: 'node',
    teardownTimeout: 30_000,
    // One group after the other: tests with time limits do not share the cores with the rest.
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'fixtures/**/*.test.ts', 'test/architecture.test.ts'],
          exclude: [...NEVER, INT, E2E],
        },
      },
      {
        extends: true,
        test: {
          name: 'int',
          sequence: { groupOrder: 1 },
          include: [INT],
          exclude: NEVER,
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e-together',
          sequence: { groupOrder: 2 },
          include: TOGETHER,
          exclude: NEVER,
          maxWorkers: 2,
          testTimeout: 300_000,
          hookTimeout: 120_000,
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
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
})
