import type { WalStatus } from './pipeline-status.ts'
import type { ServiceStatus, StatusSnapshot } from './status.ts'

/** Something that is now another way than it was. */
export interface StatusChange {
  /** null: it is about the routers */
  readonly service: string | null
  readonly what: string
  readonly from: string | null
  readonly to: string | null
}

/** What has changed between two looks, for those who read lines: not ages, lags and counters, which always change. */
export function changesOf(before: StatusSnapshot, after: StatusSnapshot): StatusChange[] {
  return [
    ...after.services.flatMap((service) => {
      const earlier = before.services.find((one) => one.service === service.service)
      return differences(service.service, earlier === undefined ? new Map() : facts(earlier), facts(service))
    }),
    ...differences(null, routers(before), routers(after)),
  ]
}

type Facts = ReadonlyMap<string, string>

function facts(status: ServiceStatus): Facts {
  const { stage, percent, authority, paused, sync, alerts, verification, lastRun } = status
  return new Map([
    ['stage', stage],
    ['percent', String(percent)],
    ...(authority === null
      ? []
      : ([
          ['authority', `${authority.side}, epoch ${authority.epoch}`],
          ['fence', authority.fenced ? 'closed' : 'open'],
        ] as const)),
    ...(paused === null ? [] : [['paused', `by ${paused.by} since ${paused.since}`] as const]),
    ...sync.flatMap(({ direction, alive, state, throttled, wal, foreign }) => [
      [`${direction} worker`, alive ? state : 'away'] as const,
      [`${direction} slot`, slotText(wal)] as const,
      ...(throttled === null ? [] : [[`${direction} throttled`, throttled] as const]),
      [`${direction} foreign rows`, String(foreign)] as const,
    ]),
    ...alerts.map(({ name, summary }) => [`alert ${name}`, summary] as const),
    ...(verification === null ? [] : [['rows that differ', String(verification.drift)] as const]),
    ...(lastRun === null ? [] : [['last run', `${lastRun.kind} ${lastRun.state}`] as const]),
  ])
}

function slotText({ status, detachedAt }: WalStatus): string {
  if (detachedAt !== null) return `given up at ${detachedAt}`
  return ['gone', 'lost', 'unknown'].includes(status) ? status : 'there'
}

function routers({ routers: all }: StatusSnapshot): Facts {
  return new Map(all.map(({ instance, version }) => [`router ${instance}`, `version ${version}`]))
}

function differences(service: string | null, before: Facts, after: Facts): StatusChange[] {
  const names = new Set([...before.keys(), ...after.keys()])
  return [...names].flatMap((what) => {
    const [from, to] = [before.get(what) ?? null, after.get(what) ?? null]
    return from === to ? [] : [{ service, what, from, to }]
  })
}
