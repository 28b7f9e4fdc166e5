import type { MoveEvents } from '../app/move.ts'
import type { Step } from '../cutover/plan.ts'
import type { StepReport } from '../cutover/run.ts'
import type { Live } from '../ui/live.ts'
import { type MoveSnapshot, type MoveStep, moveView } from '../ui/move-view.ts'
import { type Colors, mark } from '../ui/text.ts'
import type { Output } from './output.ts'

/** A cutover or rollback as lines and events. */
export function moveLines(output: Output): MoveEvents {
  return {
    onStep: (report) => output.progress({ event: 'step', ...report }, stepLine(report, output.colors)),
    onGates: (gates) => output.progress({ event: 'gates', gates }, `${gates.length} gates looked at`),
    onRecovered: (earlier, state) =>
      output.progress(
        { event: 'recovered', kind: earlier, state },
        `an interrupted ${earlier} was found and is now ${state}`,
      ),
  }
}

/** The same on a terminal: every step of the plan, and the time of the one that runs. */
export function drawMove(
  live: Live,
  move: { readonly kind: string; readonly service: string; readonly plan: readonly Step[] },
  output: Output,
): MoveEvents {
  const { kind, service, plan } = move
  let gates: MoveSnapshot['gates'] = null
  const reports = new Map<string, { readonly report: StepReport; readonly at: number }>()
  // steps of a run that is put back are not in its plan
  const others: string[] = []
  const stepOf = (name: string): MoveStep => {
    const planned = plan.find((step) => step.name === name)
    const { report, at } = reports.get(name) ?? {}
    const state = report === undefined ? 'waiting' : STATES[report.state]
    return {
      ...{ name, state, text: planned?.text ?? report?.text ?? '', stopsWrites: planned?.stopsWrites ?? false },
      milliseconds: state === 'running' ? performance.now() - (at ?? 0) : (report?.milliseconds ?? 0),
    }
  }
  const names = (): string[] => [...plan.map(({ name }) => name), ...others]
  live.show(() => moveView({ kind, service, gates, steps: names().map(stepOf) }, output.colors))
  return {
    onStep(report) {
      if (!names().includes(report.step)) others.push(report.step)
      reports.set(report.step, { report, at: performance.now() })
    },
    onGates(looked) {
      gates = looked
    },
    onRecovered: moveLines(output).onRecovered,
  }
}

const STATES = { begin: 'running', end: 'done', failed: 'failed' } as const

function stepLine(report: StepReport, ansi: Colors): string {
  if (report.state === 'begin') return ''
  const word = report.step.padEnd(15)
  return `${mark(report.state === 'end' ? 'ok' : 'failed', word, ansi)} ${String(report.milliseconds).padStart(6)} ms  ${ansi.dim(report.text)}`
}
