import { STAGE_RULES } from '../model/stage.ts'
import type { ServiceStatus, StatusSnapshot } from './status.ts'

/**
 * What keeps a system from being healthy; empty = healthy: each service that is between `off` and `complete` has a live
 * worker in the direction that its stage needs, with its slot; nobody else has written to its copy, no row is known to
 * differ, its sync is not paused, no move is under way or was left behind, no alert is open, and where routers decide there is one, and all obey
 * the newest version. How far behind a worker is does not matter. A service that was asked for by name must be one of those.
 */
export function missingForHealth(snapshot: StatusSnapshot, asked: string | null): string[] {
  const moving = snapshot.services.filter(isMoving)
  if (moving.length === 0) return [nothingMoves(snapshot, asked)]
  const routed = moving.filter(({ stage }) => STAGE_RULES[stage].reads !== 'monolith')
  return [...moving.flatMap(ofService), ...(routed.length === 0 ? [] : ofRouters(snapshot))]
}

/** Neither `off` nor `complete`. */
export function isMoving({ stage }: Pick<ServiceStatus, 'stage'>): boolean {
  return STAGE_RULES[stage].sync !== 'none'
}

export function nothingMoves({ services }: StatusSnapshot, asked: string | null): string {
  if (asked === null) return 'no service is synced'
  return `${asked} is at stage ${services[0]?.stage ?? 'off'}`
}

function ofService(service: ServiceStatus): string[] {
  const { service: name, stage, sync, paused, verification, lastRun, authority, alerts } = service
  const needed = STAGE_RULES[stage].authority === 'service' ? 'reverse' : 'forward'
  const pipeline = sync.find(({ direction }) => direction === needed)
  const foreign = sync.reduce((sum, pipe) => sum + pipe.foreign, 0)
  const drift = verification?.drift ?? 0
  return [
    ...(pipeline?.alive === true ? [] : [`${name}: no sync worker is alive`]),
    ...sync
      .filter(({ wal }) => wal.status === 'gone' || wal.status === 'lost')
      .map(
        ({ slot, wal }) => `${name}: the slot ${slot} ${wal.detachedAt === null ? `is ${wal.status}` : 'was given up'}`,
      ),
    ...(paused === null ? [] : [`${name}: its sync is paused by ${paused.by} since ${paused.since}`]),
    ...(foreign === 0 ? [] : [`${name}: ${foreign} row change(s) by somebody who should not write there`]),
    ...(drift === 0 ? [] : [`${name}: ${drift} row(s) differ`]),
    ...(lastRun?.state === 'running' ? [`${name}: a ${lastRun.kind} is not at its end`] : []),
    ...(authority?.fenced === true ? [`${name}: its tables in the monolith are fenced`] : []),
    ...alerts.map((alert) => `${name}: alert ${alert.name}`),
  ]
}

function ofRouters({ routers, policyVersion }: StatusSnapshot): string[] {
  if (routers.length === 0) return ['no router is running']
  const behind = routers.filter(({ version }) => version < policyVersion)
  return behind.map(({ instance }) => `the router ${instance} does not yet obey the newest version`)
}
