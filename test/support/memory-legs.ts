// A router in dual-write with its second legs, their records in memory.
import type { DeadLetter } from '../../src/dualwrite/dead-letter.ts'
import type { Intent, IntentOutcome, Intents, LegProgress } from '../../src/dualwrite/intents.ts'
import { type LegOptions, SecondLegs } from '../../src/dualwrite/leg.ts'
import type { Alert } from '../../src/model/alert.ts'
import { type Ask, ask, Scene } from './memory-control.ts'

class MemoryIntents implements Intents {
  readonly opened: Intent[] = []
  readonly settled: { key: string; outcome: IntentOutcome; progress?: LegProgress | undefined }[] = []
  readonly noted = new Map<string, LegProgress>()
  readonly buried: DeadLetter[] = []
  opening: () => Promise<void> = () => Promise.resolve()
  settling: () => Promise<void> = () => Promise.resolve()

  async open(intent: Intent): Promise<void> {
    await this.opening()
    this.opened.push(intent)
  }

  async settle(key: string, outcome: IntentOutcome, progress?: LegProgress): Promise<void> {
    await this.settling()
    this.settled.push({ key, outcome, ...(progress && { progress }) })
  }

  async note(progress: ReadonlyMap<string, LegProgress>): Promise<void> {
    for (const [key, one] of progress) this.noted.set(key, one)
  }

  async bury(letter: DeadLetter): Promise<void> {
    this.buried.push(letter)
  }
}

const DUAL = { stage: 'dual-write', legs: true, authority: { side: 'monolith', epoch: 7 } } as const

/** A router with second legs whose service answers them, and what it has recorded. */
export async function dualWrite({
  idempotent = true,
  ...options
}: Partial<LegOptions> & { idempotent?: boolean } = {}) {
  const scene = await Scene.open()
  const intents = new MemoryIntents()
  const services = new Map([['users', { http: scene.users.url, idempotent }]])
  const alerts: Alert[] = []
  const legs = new SecondLegs({
    ...{ services, intents, clock: { now: () => Date.now() } },
    alerts: { raise: (alert) => void alerts.push(alert), resolve: () => undefined },
    ...options,
  })
  const { address } = await scene.router({ secondLeg: legs })
  await scene.set(DUAL)
  scene.users.answer = (_, response) => void response.writeHead(200, { 'x-migrate-leg': 'applied' }).end('leg')
  const post = (path: string, more: Ask = {}) => ask(address.url, path, { method: 'POST', body: '{"n":1}', ...more })
  /** Waits until every leg has ended. */
  const ended = async (): Promise<void> => {
    await scene[Symbol.asyncDispose]()
    await legs.close()
  }
  return { scene, intents, alerts, legs, post, ended }
}
