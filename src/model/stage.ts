/** The stages of a service's migration, in order. */
export const STAGES = ['off', 'sync', 'route', 'dual-write', 'live', 'complete'] as const
export type Stage = (typeof STAGES)[number]

export type Side = 'monolith' | 'service'

/** What a stage means; router, sync, dual writes, cutover, CLI and docs all read this table. */
export interface StageRule {
  /** where reads go: `split` = the percentage to the service, the rest to the monolith */
  readonly reads: Side | 'split'
  readonly writes: 'monolith' | 'monolith, then service' | 'service'
  readonly authority: Side
  readonly sync: 'none' | 'monolith → service' | 'monolith → service, verify and repair' | 'service → monolith'
  readonly next: Stage | null
  readonly back: Stage | null
  /** the command that takes the service to `next` */
  readonly nextCommand: string | null
}

export const STAGE_RULES: Record<Stage, StageRule> = {
  off: {
    reads: 'monolith',
    writes: 'monolith',
    authority: 'monolith',
    sync: 'none',
    next: 'sync',
    back: null,
    nextCommand: 'sync',
  },
  sync: {
    reads: 'monolith',
    writes: 'monolith',
    authority: 'monolith',
    sync: 'monolith → service',
    next: 'route',
    back: 'off',
    nextCommand: 'route set',
  },
  route: {
    reads: 'split',
    writes: 'monolith',
    authority: 'monolith',
    sync: 'monolith → service',
    next: 'dual-write',
    back: 'sync',
    nextCommand: 'dual-write',
  },
  'dual-write': {
    reads: 'split',
    writes: 'monolith, then service',
    authority: 'monolith',
    sync: 'monolith → service, verify and repair',
    next: 'live',
    back: 'route',
    nextCommand: 'cutover',
  },
  live: {
    reads: 'service',
    writes: 'service',
    authority: 'service',
    sync: 'service → monolith',
    next: 'complete',
    back: 'dual-write',
    // `cleanup` comes with a later version; until then the one way on is back
    nextCommand: 'rollback',
  },
  complete: {
    reads: 'service',
    writes: 'service',
    authority: 'service',
    sync: 'none',
    next: null,
    back: null,
    nextCommand: null,
  },
}

/** The stages that may follow `from`, forwards first. */
export function legalMoves(from: Stage): Stage[] {
  const { next, back } = STAGE_RULES[from]
  return [next, back].filter((stage) => stage !== null)
}

export function isStage(text: string): text is Stage {
  return (STAGES as readonly string[]).includes(text)
}
