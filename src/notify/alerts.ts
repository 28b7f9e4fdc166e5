import { asMigrateError } from '../errors.ts'
import type { AlertMemory, Alerts } from '../model/alert.ts'
import { within } from '../model/within.ts'
import { retry } from '../retry.ts'
import { Courier } from './courier.ts'
import { type Message, raised, resolved } from './message.ts'
import type { Target } from './target.ts'

export interface AlertOptions {
  readonly project: string
  readonly targets: readonly Target[]
  readonly memory: AlertMemory
  /** the whole environment of commands */
  readonly env: Readonly<Record<string, string>>
  /** says what could not be delivered */
  readonly log: (line: string) => void
  /** milliseconds that one try may take; default 5 s */
  readonly timeout?: number
  /** milliseconds before the second try; default 1 s, doubling */
  readonly first?: number
  /** milliseconds that what is under way may hold up the end of the process; default 5 s */
  readonly patience?: number
}

/** The memory is asked for so long before an alert is told without it: it may be what is broken. */
const MEMORY_MS = 3_000
const PATIENCE_MS = 5_000

/**
 * Tells people in the background. Of what is raised many times, here or by another process, they hear once until it is
 * resolved. Close it: what is under way gets five seconds more.
 */
export function openAlerts(options: AlertOptions): Alerts & AsyncDisposable {
  const { project, memory, log } = options
  // without targets it is only noted what is raised, for status
  const anybody = options.targets.length > 0
  const ending = new AbortController()
  const courier = new Courier({ ...options, signal: ending.signal })
  /** what this process has raised: holds also when the memory cannot be reached */
  const open = new Set<string>()
  // one after the other, so that a resolve never overtakes its raise
  let last: Promise<void> = Promise.resolve()

  function enqueue(work: () => Promise<void>): void {
    last = last.then(work).catch((error: unknown) => log(`alert: ${asMigrateError(error).message}`))
  }

  /** What the memory says; `instead` when it says nothing in time. */
  async function recall(question: () => Promise<boolean>, instead: boolean): Promise<boolean> {
    try {
      return await within(retry(question, { signal: ending.signal, tries: anybody ? 3 : 1 }), MEMORY_MS)
    } catch (error) {
      if (anybody) log(`alert: what was told before is not known: ${asMigrateError(error).message}`)
      return instead
    }
  }

  return {
    raise(alert) {
      const key = keyOf(alert.name, alert.service, alert.subject)
      const again = open.has(key)
      open.add(key)
      const message = raised(project, alert, new Date())
      enqueue(async () => {
        if (!(await recall(() => memory.raise(alert), !again))) return
        courier.send(message, () => remember(() => memory.told(alert.name, alert.service, alert.subject)))
      })
    },
    resolve(name, service, subject) {
      const here = open.delete(keyOf(name, service, subject))
      const message: Message = resolved(project, { name, service, subject }, new Date())
      enqueue(async () => {
        if (!(await recall(() => memory.resolve(name, service, subject), here))) return
        courier.send(message, () => remember(async () => memory.over?.(name, service, subject)))
      })
    },
    async [Symbol.asyncDispose]() {
      // unreachable databases and receivers that hang are no reason to stay
      await within(settled(), options.patience ?? PATIENCE_MS).catch(() => {
        if (anybody) log('alert: some were not delivered before the end')
      })
      ending.abort()
      await courier.idle()
    },
  }

  /** What is queued, on its way, and to be remembered as told. */
  async function settled(): Promise<void> {
    await last
    await courier.idle()
    await last
  }

  function remember(note: () => Promise<void>): void {
    enqueue(() => within(note(), MEMORY_MS))
  }
}

function keyOf(name: string, service: string, subject = ''): string {
  return `${name}/${service}/${subject}`
}
