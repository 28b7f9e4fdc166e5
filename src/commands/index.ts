import type { CommandDefinition } from './command.ts'
import { check } from './check.ts'
import { config } from './config.ts'
import { cutover } from './cutover.ts'
import { demo } from './demo.ts'
import { dlq } from './dlq.ts'
import { dualWrite } from './dual-write.ts'
import { events } from './events.ts'
import { explain } from './explain.ts'
import { init } from './init.ts'
import { reconcile } from './reconcile.ts'
import { rollback } from './rollback.ts'
import { route } from './route.ts'
import { run } from './run.ts'
import { saga } from './saga.ts'
import { status } from './status.ts'
import { sync } from './sync.ts'

/** Every command, in the order of the help. Each file stays light: what is heavy is imported inside `run`. */
export const COMMANDS: readonly CommandDefinition[] = [
  demo,
  init,
  check,
  sync,
  route,
  dualWrite,
  cutover,
  rollback,
  reconcile,
  dlq,
  events,
  saga,
  run,
  status,
  config,
  explain,
]
