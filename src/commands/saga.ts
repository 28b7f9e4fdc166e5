import type { GroupDefinition } from './command.ts'
import { list } from './saga/list.ts'
import { locks } from './saga/locks.ts'
import { cancel, resume, retry, skip } from './saga/orders.ts'
import { show } from './saga/show.ts'
import { stats } from './saga/stats.ts'

export const saga: GroupDefinition = {
  name: 'saga',
  summary: "Look into a service's sagas, and decide where they cannot",
  examples: [
    'migrate saga list orders --status STUCK',
    'migrate saga show orders 0b5c7f8e --watch',
    'migrate saga retry orders 0b5c7f8e',
  ],
  subcommands: [list, show, retry, skip, resume, cancel, locks, stats],
}
