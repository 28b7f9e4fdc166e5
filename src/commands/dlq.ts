import type { GroupDefinition } from './command.ts'
import { discard } from './dlq/discard.ts'
import { exportLetters } from './dlq/export.ts'
import { list } from './dlq/list.ts'
import { retry } from './dlq/retry.ts'
import { show } from './dlq/show.ts'

export const dlq: GroupDefinition = {
  name: 'dlq',
  summary: 'Look at and settle what needs a person',
  examples: ['migrate dlq list', 'migrate dlq retry 7', 'migrate dlq discard 7 --confirm users'],
  subcommands: [list, show, retry, discard, exportLetters],
}
