/**
 * What people are told about without asking. `sync-failed`: a worker ended or cannot go on; `leg-exhausted`: a second leg
 * became a dead letter; `drift`: reconcile found differences; `saga-stuck`: a human has to decide; `saga-stranded`: no
 * process has its definition; `saga-late`: its deadline is over; `saga-retrying`: a step was tried in vain ten times.
 */
export type AlertName =
  | 'sync-failed'
  | 'leg-exhausted'
  | 'drift'
  | 'saga-stuck'
  | 'saga-stranded'
  | 'saga-late'
  | 'saga-retrying'

export interface Alert {
  readonly name: AlertName
  readonly service: string
  /** what of the service: alerts of one name and service are the same when this is; left out = the service itself */
  readonly subject?: string
  /** one sentence; never values of rows, never secrets */
  readonly summary: string
  /** the command that shows more */
  readonly next: string
  /** figures and names for machines; never values of rows */
  readonly context: Readonly<Record<string, string | number>>
}

/** Where alerts go. Neither call blocks or throws: an alert that cannot be delivered must not stop the work. */
export interface Alerts {
  /** told once until it is resolved; an alert is the same as another of its name, service and subject */
  raise(alert: Alert): void
  /** the reason is gone; nothing happens when the alert was not raised */
  resolve(name: AlertName, service: string, subject?: string): void
}

/** @public for what tells nobody */
export const NO_ALERTS: Alerts = { raise: () => undefined, resolve: () => undefined }

/** Remembers over processes which alerts are raised. Both may throw: without memory every process tells by itself. */
export interface AlertMemory {
  /** false when it is raised already and somebody was told */
  raise(alert: Alert): Promise<boolean>
  /** a target has taken the message */
  told(name: AlertName, service: string, subject?: string): Promise<void>
  /** false when it was not raised */
  resolve(name: AlertName, service: string, subject?: string): Promise<boolean>
  /** a target has taken the message that it is over; where this is not remembered, it is told once only */
  over?(name: AlertName, service: string, subject?: string): Promise<void>
}
