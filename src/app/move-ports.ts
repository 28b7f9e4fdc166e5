import { serviceOf } from '../config/service.ts'
import { countOpen } from '../control/dead-letters.ts'
import { openIntents } from '../control/intents.ts'
import { holderName } from '../control/lease.ts'
import { readRouters } from '../control/policy.ts'
import { readProgress } from '../control/progress.ts'
import { changeService, readService } from '../control/services.ts'
import { readSyncControl } from '../control/sync-control.ts'
import { countUnsettled } from '../control/unsettled.ts'
import type { MovePorts, RowKey } from '../cutover/ports.ts'
import { MigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import type { Direction } from '../model/progress.ts'
import { unarmed } from '../stores/postgres/arm.ts'
import { crossingForeignKeys, type TableInfo } from '../stores/postgres/catalogue.ts'
import { readCheckpoint } from '../stores/postgres/checkpoint.ts'
import { compareKeys, compareTable, textKeys } from '../stores/postgres/compare.ts'
import {
  liftFence,
  readAuthority,
  renewAuthority,
  shutGate,
  switchAuthority,
  switchBack,
  takeFence,
} from '../stores/postgres/fence.ts'
import {
  changePipeline,
  clearTouched,
  emitToken,
  sealPipeline,
  takeTouched,
} from '../stores/postgres/pipeline-control.ts'
import { moveSequences, separateSequences } from '../stores/postgres/sequences.ts'
import { readServiceGate, setServiceGate } from '../stores/postgres/service-gate.ts'
import { longTransactions } from '../stores/postgres/sessions.ts'
import { sqlstate } from '../stores/postgres/translate.ts'
import { isInstalled } from './installed.ts'
import { legsGate } from './legs-gate.ts'
import { type App, namesOf } from './open.ts'
import { sourcePosition } from './pipeline.ts'
import { readTables } from './tables.ts'
import { readVerification } from './verification.ts'

/** A call of the gate is tried again for so long, milliseconds. */
const INSIST = 3_000

/** What a cutover or rollback does to the world, on the real databases. */
export async function movePorts(app: App, name: string, action: string, signal: AbortSignal): Promise<MovePorts> {
  const { monolith, control, gate } = app
  const service = app.service(name)
  const names = namesOf(app.config, name)
  const sides = { monolith, service }
  const tables = await readTables(monolith, name, serviceOf(app.config, name))
  const pipelines = [
    [service, names.forward],
    [monolith, names.reverse],
  ] as const
  const audit = { who: holderName(), action }
  // its second legs can neither be revoked nor be told from other writes by its gate
  const plain = !serviceOf(app.config, name).idempotent
  const must = (done: boolean, what: string): void => {
    if (!done) throw new MigrateError('TAKEN_OVER', { what })
  }

  return {
    authority: () => readAuthority(monolith, name),
    stage: async () => (await readService(control, name)).stage,
    async holdWrites(run, milliseconds) {
      const { stage } = await readService(control, name)
      return changeService(control, name, stage, { hold: { run, milliseconds } }, audit, run)
    },
    async releaseWrites(run, stage) {
      const now = await readService(control, name)
      const change = stage === undefined || stage === now.stage ? { hold: null } : { hold: null, stage }
      return changeService(control, name, now.stage, { ...change, ...legsOf(stage, plain) }, audit, run)
    },
    async routers() {
      const routers = await readRouters(control)
      return routers.map(({ instance, version, services, age }) => {
        const load = services[name]
        return { instance, version, age, writes: load?.writes ?? 0, legs: load?.legs ?? 0 }
      })
    },
    async worker(direction) {
      const found = await readProgress(control, name, direction)
      return found === null ? null : { ...found, foreign: found.counters.foreign }
    },
    async paused() {
      // a dry run installs nothing
      if (!(await isInstalled(control, 'sync_control'))) return null
      const { paused } = await readSyncControl(control, name)
      return paused === null ? null : `by ${paused.by} since ${paused.since}`
    },
    sourcePosition: (direction) => sourcePosition(app, name, direction),
    async setGrace(run, graceMs) {
      must(await changePipeline(service, names.forward, run, { hold: true, graceMs }), names.forward)
    },
    openLegs: async () => (await openIntents(control, name)).length + (await countUnsettled(control, name)),
    async track(run, on) {
      for (const [database, pipeline] of pipelines) {
        must(await changePipeline(database, pipeline, run, { tracking: on ? run : null }), pipeline)
        await clearTouched(database, pipeline, run)
      }
    },
    async takeTouched(run) {
      const taken: RowKey[] = []
      for (const [database, pipeline] of pipelines) taken.push(...(await takeTouched(database, pipeline, run)))
      return textKeys(monolith, tables, taken)
    },
    async compareAll() {
      const different: RowKey[] = []
      for (const table of tables) different.push(...(await compareTable(sides, table)))
      return different
    },
    compareKeys: (rows) => compareKeys(sides, tables, rows),

    takeFence: (run, milliseconds) => takeFence(gate, name, run, milliseconds, signal),
    async liftFence(run) {
      try {
        must(await insist(() => liftFence(gate, name, run)), `the fence of ${name}`)
      } catch (error) {
        // a long transaction has passed a fence that is over: it stays open by itself, and the next fence may follow
        if (sqlstate(error) !== '55P03' || (await readAuthority(monolith, name)).closed) throw error
      }
    },
    emitToken: (side, run, mark) => emitToken(side === 'service' ? service : monolith, name, run, mark),
    tokenSeen: async (direction) => (await checkpointOf(direction))?.token ?? null,
    async seal(direction, run, epoch) {
      // the switch back itself writes forward's: in the very database that it is to be read from
      const start = direction === 'forward' ? ({ service: name, direction: 'reverse', epoch } as const) : null
      const [database, pipeline] = pipelines[direction === 'forward' ? 0 : 1]
      must(await sealPipeline(database, pipeline, run, start), pipeline)
    },
    async discardReverse(run) {
      must(await changePipeline(monolith, names.reverse, run, { state: 'discard' }), names.reverse)
    },
    async moveSequences(to) {
      if (to === 'service') return moveSequences(monolith, service, tables)
      const moved = await moveSequences(service, monolith, tables)
      // second legs follow, and number their rows themselves
      return moved + (await separateSequences(monolith, service, tables))
    },

    switchToService: (run, fence, epoch) => insist(() => switchAuthority(gate, name, run, fence, epoch)),
    switchToMonolith: (run, epoch) => insist(() => switchBack(gate, name, run, epoch)),
    renew: (run, epoch) => insist(() => renewAuthority(gate, name, run, epoch, names.reverse)),
    shut: () => insist(() => shutGate(gate, name)),
    setServiceGate(run, epoch, mode) {
      // opened by `dual-write`, when no late write of the time before can come any more
      const wanted = mode === 'legs' && plain ? 'closed' : mode
      return setServiceGate(app.serviceGate(name), name, run, epoch, wanted)
    },

    crossingForeignKeys: () => crossingForeignKeys(monolith, tables.map(oidOf)),
    longTransactions: (seconds) => longTransactions(monolith, seconds),
    async unarmedTables() {
      const theirs = await readTables(service, name, serviceOf(app.config, name))
      return [...(await unarmed(monolith, tables)), ...(await unarmed(service, theirs))]
    },
    async serviceGate() {
      const found = await readServiceGate(service, name)
      return { mode: found?.mode ?? null, wanted: legsGate(app.config, name) }
    },
    unsettledLegs: () => countUnsettled(control, name),
    deadLetters: () => countOpen(control, name),
    verification: async () => readVerification(app, name, (await readAuthority(monolith, name)).epoch),
  }

  function checkpointOf(direction: Direction) {
    const [database, pipeline] = pipelines[direction === 'forward' ? 0 : 1]
    return readCheckpoint(database, pipeline)
  }
}

/**
 * Calls of the gate wait 200 ms for their locks, so that nobody queues behind them for longer; a busy moment must not
 * fail a run. Between two tries everybody gets through.
 */
async function insist<T>(attempt: () => Promise<T>): Promise<T> {
  const until = performance.now() + INSIST
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (sqlstate(error) !== '55P03' || performance.now() > until) throw error
      await pause(100, new AbortController().signal)
    }
  }
}

/** Second legs run in `dual-write` only; after a rollback those that cannot be revoked wait for `dual-write` again. */
function legsOf(stage: string | undefined, plain: boolean): { legs?: boolean } {
  return stage === undefined ? {} : { legs: stage === 'dual-write' && !plain }
}

function oidOf(table: TableInfo): number {
  return table.oid
}
