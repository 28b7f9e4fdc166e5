import type { PipelineStatus } from '../app/pipeline-status.ts'
import type { ServiceStatus, StatusSnapshot } from '../app/status.ts'
import type { VerificationStatus } from '../app/verification.ts'
import { bytes, duration } from '../ui/measure.ts'
import { type Colors, mark, plain } from '../ui/text.ts'
import { age } from './reconcile-text.ts'

/** A tree: services with what runs for them, then the routers. */
export function statusText(snapshot: StatusSnapshot, ansi: Colors): string {
  const routers = snapshot.routers.map(
    (router) => `  ${router.instance}  version ${router.version}, seen ${router.age.toFixed(1)} s ago`,
  )
  return [
    ansi.bold(snapshot.project),
    ...snapshot.services.map((service) => serviceText(service, ansi)),
    ansi.bold('routers'),
    ...(routers.length === 0 ? ['  none'] : routers),
  ].join('\n')
}

function serviceText(service: ServiceStatus, ansi: Colors): string {
  const lines = [`├ ${ansi.bold(service.service)}  stage ${service.stage}, ${service.percent} % of the reads`]
  if (service.authority !== null) {
    const { side, epoch, fenced } = service.authority
    const writer = side === 'monolith' ? 'the monolith' : 'the service'
    lines.push(`│   writes    ${writer} (epoch ${epoch})${fenced ? ansi.yellow(', fenced now') : ''}`)
  }
  if (service.paused !== null) {
    const { by, since, reason } = service.paused
    const why = reason === null ? '' : `: ${plain(reason)}`
    lines.push(`│   sync      ${mark('waiting', `paused by ${plain(by)} since ${since}${why}`, ansi)}`)
  }
  for (const pipeline of service.sync)
    lines.push(
      `│   ${pipeline.direction.padEnd(8)}  ${pipelineText(pipeline, ansi)}`,
      `│             ${slotText(pipeline, service.service, ansi)}`,
    )
  if (service.legs.length > 0) {
    const counts = service.legs.map(
      ({ state, verdict, count }) => `${count} ${state}${verdict === null ? '' : ` ${verdict}`}`,
    )
    lines.push(`│   legs      ${counts.join(', ')} in 10 min`)
  }
  if (service.unsettled > 0) {
    lines.push(`│   unsettled ${ansi.yellow(`${service.unsettled} second legs may still run`)}`)
  }
  if (service.deadLetters > 0) {
    const list = `migrate dlq list --service ${service.service}`
    lines.push(`│   letters   ${ansi.red(`${service.deadLetters} open dead letters`)}: ${list}`)
  }
  if (service.verification !== null) lines.push(`│   reconcile ${verificationText(service.verification, ansi)}`)
  for (const alert of service.alerts)
    lines.push(`│   alert     ${mark('failed', `${alert.name} for ${age(alert.age)}: ${plain(alert.summary)}`, ansi)}`)
  if (service.lastRun !== null) {
    const { kind, state, seconds, reason } = service.lastRun
    const took = seconds === null ? '' : ` in ${seconds.toFixed(1)} s`
    lines.push(`│   last run  ${kind} ${state}${took}${reason ? ` (${reason})` : ''}`)
  }
  return lines.join('\n')
}

function pipelineText(pipeline: PipelineStatus, ansi: Colors): string {
  const alive = pipeline.alive
    ? mark('ok', pipeline.state, ansi)
    : mark('failed', `no worker for ${pipeline.age.toFixed(0)} s`, ansi)
  const lag = pipeline.lagBytes === null ? 'lag unknown' : `lag ${bytes(pipeline.lagBytes)}, ${seconds(pipeline)}`
  const foreign = pipeline.foreign === 0 ? '' : ansi.red(`, ${pipeline.foreign} foreign rows`)
  const throttled = pipeline.throttled === null ? '' : ansi.yellow(`, throttled: ${pipeline.throttled}`)
  return `${alive}, ${lag}, ${pipeline.rows} rows${pipeline.hold ? ', held for the grace' : ''}${throttled}${legRows(pipeline)}${foreign}`
}

function seconds({ lagSeconds }: PipelineStatus): string {
  return lagSeconds === null ? 'not known in time' : `${lagSeconds.toFixed(lagSeconds < 10 ? 1 : 0)} s`
}

/** What the server keeps for it, and for how long that may go on. */
function slotText({ direction, retainedBytes, wal }: PipelineStatus, service: string, ansi: Colors): string {
  const { status, capBytes, detachBytes, secondsToCap, detachedAt } = wal
  if (detachedAt !== null) {
    const next = direction === 'forward' ? `: migrate sync ${service} --resnapshot` : ''
    return ansi.red(`✖ slot given up at ${detachedAt}${next}`)
  }
  if (status === 'gone') return ansi.red('✖ slot is gone')
  if (status === 'unknown') return ansi.yellow('slot unknown: its server does not answer')
  const said = status === 'reserved' ? 'slot' : ansi.yellow(`slot ${status},`)
  const cap = capBytes === null ? 'unlimited' : `of ${bytes(capBytes)}`
  const left = secondsToCap === null ? '' : `, full in ${duration(secondsToCap)} at least`
  const limit = detachBytes === null ? '' : `, given up at ${bytes(detachBytes)}`
  return `${said} keeps ${bytes(retainedBytes ?? 0)} ${cap}${limit}${left}`
}

/** What second legs had made of the rows: nothing is said about what was right. */
function legRows({ legs }: PipelineStatus): string {
  const said: [number, string][] = [
    [legs.repaired, 'repaired'],
    [legs.extra, 'extra rows removed'],
    [legs.serviceExtra, 'rows in the way removed'],
  ]
  return said.flatMap(([count, what]) => (count === 0 ? [] : [`, ${count} ${what}`])).join('')
}

function verificationText({ through, age: seconds, drift }: VerificationStatus, ansi: Colors): string {
  const verified =
    through === null
      ? mark('waiting', 'not fully verified under this authority', ansi)
      : `every row verified ${age(seconds ?? 0)} ago, through ${through}`
  return drift === 0 ? `${verified}, no drift` : `${ansi.red(`✖ ${drift} rows differ`)}, ${verified}`
}
