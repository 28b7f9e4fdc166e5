import type { RunKind } from '../control/journal.ts'
import type { Gate } from '../cutover/gates.ts'
import type { Step } from '../cutover/plan.ts'
import { MigrateError } from '../errors.ts'
import { type Colors, mark, table } from '../ui/text.ts'
import type { CommandContext } from './command.ts'
import { openLiveArea } from './live.ts'
import { drawMove, moveLines } from './move-progress.ts'

export interface MoveCommandOptions {
  readonly dryRun?: true
  readonly maxWriteOutage?: string
}

/** Runs a cutover or rollback, or with --dry-run prints its gates and the very list of steps that would run. */
export async function runMove(context: CommandContext, name: string, kind: RunKind, options: MoveCommandOptions) {
  const { signal, output, loadConfig } = context
  const { openApp } = await import('../app/open.ts')
  const { moveService, planMove } = await import('../app/move.ts')
  const maxWriteOutage = millisecondsOf(options.maxWriteOutage, kind)
  await using app = openApp(await loadConfig(), `${kind}/${name}`)
  if (options.dryRun === true) {
    const plan = await planMove(app, name, kind, signal)
    const closed = plan.gates.filter((gate) => !gate.ok)
    output.result(
      {
        schema: `migrate.${kind}-plan/1`,
        status: closed.length === 0 ? 'ok' : 'action_required',
        data: { service: name, kind, ...plan },
        nextSteps: [{ cmd: `migrate ${kind} ${name}`, why: 'run these steps' }],
      },
      (ansi) => planText(plan.gates, plan.steps, ansi),
    )
    return
  }
  using live = await openLiveArea(output)
  const { planCutover, planRollback } = await import('../cutover/plan.ts')
  const plan = kind === 'cutover' ? planCutover(name) : planRollback(name)
  const events = live === null ? moveLines(output) : drawMove(live, { kind, service: name, plan }, output)
  const result = await moveService(app, name, kind, {
    ...(maxWriteOutage === undefined ? {} : { maxWriteOutage }),
    signal,
    events,
  })
  const side = kind === 'cutover' ? name : 'the monolith'
  const plain = app.config.services[name]?.idempotent === false
  output.result(
    {
      schema: `migrate.${kind}/1`,
      status: 'ok',
      data: { service: name, ...result },
      nextSteps: [
        { cmd: `migrate status ${name}`, why: 'see where it stands' },
        kind === 'cutover'
          ? { cmd: `migrate rollback ${name}`, why: 'back to dual-write, without losing a write' }
          : plain
            ? { cmd: `migrate dual-write ${name}`, why: 'send it second legs again, once no late write can come' }
            : { cmd: `migrate cutover ${name}`, why: 'move it again' },
      ],
    },
    (ansi) =>
      `${ansi.green('✔')} ${kind} of ${name}: ${side} has the write authority (epoch ${result.epoch}); ` +
      (result.finished ? 'an interrupted run was finished' : `writes were stopped for ${result.outageMs} ms`),
  )
}

function planText(gates: readonly Gate[], steps: readonly Step[], ansi: Colors): string {
  const rows = gates.map((gate) => [
    mark(gate.ok ? 'ok' : 'failed', gate.ok ? 'met' : 'not met', ansi),
    gate.name,
    gate.measured,
    `${gate.comparator} ${gate.threshold}`,
  ])
  const lines = steps.map(
    (step, i) =>
      `${String(i + 1).padStart(3)}  ${step.name.padEnd(15)} ${step.text}${step.stopsWrites ? ansi.dim('  (writes stopped)') : ''}`,
  )
  const columns = [{ title: 'gate' }, { title: '' }, { title: 'measured' }, { title: 'needed' }]
  return `${table(columns, rows, ansi)}\n\nSteps:\n${lines.join('\n')}`
}

/** `3s`, `1500ms`. */
function millisecondsOf(text: string | undefined, kind: RunKind): number | undefined {
  if (text === undefined) return undefined
  const match = /^(\d+(?:\.\d+)?)(ms|s)$/.exec(text)
  const value = match === null ? Number.NaN : Number(match[1]) * (match[2] === 's' ? 1_000 : 1)
  if (!(value >= 1_000 && value <= 10_000)) {
    throw new MigrateError('USAGE', { reason: '--max-write-outage takes 1s to 10s', command: `migrate ${kind}` })
  }
  return value
}
