import { ROUTER_SILENCE } from './limits.ts'
import type { MovePorts, VerificationReading } from './ports.ts'

/** One condition, looked at before anything is touched. */
export interface Gate {
  readonly name: string
  readonly measured: string
  readonly comparator: '=' | '≤' | '≥'
  readonly threshold: string
  readonly ok: boolean
  /** what to do when it is not met */
  readonly remedy: string
  /** may come to be met by itself within seconds: a worker that takes up its stream again, a router about to read */
  readonly mayPass: boolean
}

const WORKER_SILENCE = 5
const LAG_BYTES = 16 * 1024 * 1024
const LONG_TRANSACTION = 5
const VERIFICATION_HOURS = 24

/** All gates of a cutover. Nothing is changed. */
export async function cutoverGates(service: string, ports: MovePorts): Promise<Gate[]> {
  const [pause, forward, reverse, routers, keys, long, unarmed, gate, legs, verification] = await Promise.all([
    pauseGates(service, ports),
    workerGates(service, ports, 'forward'),
    workerGates(service, ports, 'reverse'),
    routerGates(ports),
    ports.crossingForeignKeys(),
    ports.longTransactions(LONG_TRANSACTION),
    ports.unarmedTables(),
    ports.serviceGate(),
    legGates(service, ports),
    ports.verification(),
  ])
  return [
    ...pause,
    ...forward,
    ...reverse,
    ...routers,
    count(
      'crossing foreign keys',
      keys.map((key) => `${key.name} (${key.from} → ${key.to})`),
      // everybody who uses the tables queues behind a lock that is waited for
      `set lock_timeout = '200ms'; ${keys.map((key) => `alter table ${key.from} drop constraint ${key.name};`).join(' ')}`,
    ),
    count(`transactions open for ${LONG_TRANSACTION} s`, long, 'Wait for them, or end them.'),
    count('tables without the gate', unarmed, `Run \`migrate sync ${service}\`: it arms them.`),
    {
      name: "gate of the service's database",
      measured: gate.mode ?? 'none',
      comparator: '=',
      threshold: gate.wanted,
      ok: gate.mode === gate.wanted,
      remedy: `Run \`migrate dual-write ${service}\`.`,
      mayPass: false,
    },
    ...legs,
    ...verificationGates(service, verification),
  ]
}

/** A leg that may still run would write behind the switch; a dead letter is for a person to look at first. */
async function legGates(service: string, ports: MovePorts): Promise<Gate[]> {
  const [unsettled, letters] = await Promise.all([ports.unsettledLegs(), ports.deadLetters()])
  const settling = 'Wait: they are settled by themselves within maxRequestTime.'
  return [
    { ...number('unsettled second legs', unsettled, settling), mayPass: true },
    number('open dead letters', letters, `Run \`migrate dlq list --service ${service}\`.`),
  ]
}

/** All gates of a rollback from `live`. */
export async function rollbackGates(service: string, ports: MovePorts): Promise<Gate[]> {
  const [pause, forward, reverse, routers, long] = await Promise.all([
    pauseGates(service, ports),
    workerGates(service, ports, 'forward'),
    workerGates(service, ports, 'reverse'),
    routerGates(ports),
    ports.longTransactions(LONG_TRANSACTION),
  ])
  return [
    ...pause,
    ...forward,
    ...reverse,
    ...routers,
    count(`transactions open for ${LONG_TRANSACTION} s`, long, 'Wait for them, or end them.'),
  ]
}

/** A paused worker applies nothing: a run would stop writes, and wait in vain. Nothing is said while it is not paused. */
async function pauseGates(service: string, ports: MovePorts): Promise<Gate[]> {
  const paused = await ports.paused()
  if (paused === null) return []
  const remedy = `Run \`migrate sync ctl resume ${service}\`.`
  return [
    { name: 'sync paused', measured: paused, comparator: '=', threshold: 'no', ok: false, remedy, mayPass: false },
  ]
}

async function workerGates(service: string, ports: MovePorts, direction: 'forward' | 'reverse'): Promise<Gate[]> {
  const worker = await ports.worker(direction)
  const alive = worker !== null && worker.age <= WORKER_SILENCE && worker.phase === 'streaming'
  const lag = worker === null ? null : Number((worker.source ?? 0n) - (worker.applied ?? 0n))
  const remedy = `Run \`migrate sync ${service}\` and leave it running.`
  return [
    {
      name: `${direction} worker heard of`,
      measured:
        worker === null
          ? 'never'
          : alive
            ? `${worker.age.toFixed(1)} s ago`
            : `${worker.age.toFixed(1)} s ago, ${worker.phase}`,
      comparator: '≤',
      threshold: `${WORKER_SILENCE} s, streaming`,
      ok: alive,
      remedy,
      mayPass: true,
    },
    {
      name: `${direction} lag`,
      measured: lag === null ? 'unknown' : `${lag} bytes`,
      comparator: '≤',
      threshold: `${LAG_BYTES} bytes`,
      ok: lag !== null && lag <= LAG_BYTES,
      remedy,
      mayPass: true,
    },
  ]
}

/** Only where reconcile has something to say: the run itself compares every row in any case. */
function verificationGates(service: string, found: VerificationReading | null): Gate[] {
  if (found === null || (found.age === null && found.drift === 0)) return []
  const hours = found.age === null ? null : found.age / 3600
  return [
    {
      name: 'last full verification',
      measured: `${hours === null ? 'never' : `${hours.toFixed(1)} h ago`}, ${found.drift} rows differ`,
      comparator: '≤',
      threshold: `${VERIFICATION_HOURS} h, 0 rows differ`,
      ok: hours !== null && hours <= VERIFICATION_HOURS && found.drift === 0,
      remedy: `Run \`migrate reconcile ${service}\`.`,
      mayPass: false,
    },
  ]
}

async function routerGates(ports: MovePorts): Promise<Gate[]> {
  const routers = await ports.routers()
  const newest = Math.max(0, ...routers.map((router) => router.version))
  const behind = routers.filter((router) => router.version < newest)
  // one that has died keeps its lease for a while; until that is over nobody knows what it still does
  const silent = routers.filter((router) => router.age > ROUTER_SILENCE)
  const names = (found: typeof routers): string[] => found.map((router) => router.instance)
  return [
    {
      ...count(`routers (of ${routers.length}) behind version ${newest}`, names(behind), 'Restart the routers named.'),
      mayPass: true,
    },
    count(
      `routers (of ${routers.length}) silent for ${ROUTER_SILENCE} s`,
      names(silent),
      'Wait 10 s: the lease of a router that has died ends by itself.',
    ),
  ]
}

function count(name: string, found: readonly string[], remedy: string): Gate {
  const gate = number(name, found.length, remedy)
  return found.length === 0 ? gate : { ...gate, measured: `${found.length}: ${found.slice(0, 5).join(', ')}` }
}

function number(name: string, found: number, remedy: string): Gate {
  return { name, measured: String(found), comparator: '=', threshold: '0', ok: found === 0, remedy, mayPass: false }
}
