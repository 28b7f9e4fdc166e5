import { EXIT, MigrateError } from '../errors.ts'
import { keyValues } from '../ui/text.ts'
import { defineCommand } from './command.ts'

export const demo = defineCommand<{ keep?: true; small?: true }>({
  name: 'demo',
  summary: 'Take a shop apart on this machine, under load, and count what was lost',
  examples: ['migrate demo', 'migrate demo --json', 'migrate demo --keep'],
  configure: (command) =>
    command.option('--small', 'a small shop and short stages').option('--keep', 'leave everything running until ^C'),
  async run({ signal, output }, _args, { keep, small }) {
    const { walk, writeEnvironment } = await import('../../fixtures/demo/walk.ts')
    const started = performance.now()
    const at = (): string => `${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s`
    let told = Number.NEGATIVE_INFINITY
    const verdict = await walk({
      size: small === true ? 'small' : 'demo',
      leastWrites: small === true ? 1_000 : 5_000,
      writesPerSecond: 150,
      readsPerSecond: 300,
      dwell: small === true ? 3 : 7,
      signal,
      events: {
        stage: (text) => output.progress({ event: 'stage', text }, `${at()}  ${text}`),
        command: (text, outcome) =>
          output.progress(
            { event: 'command', command: text, outcome },
            `${at()}  $ ${output.colors.cyan(text)}\n          ${outcome}`,
          ),
        load(counters) {
          if (performance.now() - told < 5_000) return
          told = performance.now()
          output.progress({ event: 'load', counters }, `${at()}  ${output.colors.dim(loadLine(counters))}`)
        },
      },
      ...(keep === true
        ? {
            keep: async (shop) => {
              const file = await writeEnvironment(shop)
              output.note(`kept, until ^C. Try:\n  migrate -c ${shop.config} --env-file ${file} status`)
              await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
            },
          }
        : {}),
    })
    const { details, ...data } = verdict
    output.result(
      {
        schema: 'migrate.demo/1',
        status: verdict.verdict === 'ok' ? 'ok' : 'error',
        data: { ...data, details },
        nextSteps: [{ cmd: 'migrate demo --keep', why: 'leave it running and look around with migrate status' }],
      },
      (ansi) =>
        [
          '',
          keyValues(
            [
              ['acknowledged writes', String(data.acknowledged)],
              ['lost', String(data.lost)],
              ['doubled', String(data.doubled)],
              ['stale reads of own writes', String(data.staleReads)],
              ['failed requests', String(data.failedRequests)],
              ['rows that differ', String(data.driftRows)],
              ['write outage per move', `p50 ${data.outageMs.p50} ms, max ${data.outageMs.max} ms`],
              ['seconds', String(data.seconds)],
            ],
            ansi,
          ),
          verdict.verdict === 'ok'
            ? ansi.green('✔ nothing was lost: cutover, rollback and a second cutover under load')
            : ansi.red(`✖ wrong: ${verdict.reasons.join(', ')}`),
        ].join('\n'),
    )
    if (verdict.verdict === 'wrong') {
      for (const detail of details.slice(0, 20)) output.note(JSON.stringify(detail))
      output.exit(EXIT.integrity)
      const error = new MigrateError('VERDICT_WRONG', { reason: verdict.reasons.join(', ') })
      output.note(`${error.code}: ${error.message}`)
    }
  },
})

interface LoadCounters {
  readonly writes?: { readonly acknowledged: number; readonly failed: number }
  readonly reads?: { readonly acknowledged: number; readonly failed: number; readonly stale: number }
  readonly sides?: { readonly reads?: Record<string, number> }
}

function loadLine(counters: LoadCounters): string {
  const { writes, reads, sides } = counters
  const failed = (writes?.failed ?? 0) + (reads?.failed ?? 0)
  return (
    `${writes?.acknowledged ?? 0} writes, ${reads?.acknowledged ?? 0} reads (${sides?.reads?.service ?? 0} by the service), ` +
    `${failed} failed, ${reads?.stale ?? 0} stale`
  )
}
