/** A step of a run. The dry run prints these, the runner runs them, the journal records them. */
export interface Step<Name extends string = string> {
  readonly name: Name
  readonly text: string
  /** writes of the service are held or refused while it runs */
  readonly stopsWrites: boolean
  /** from here on a run is finished, never undone */
  readonly afterSwitch: boolean
}

export type CutoverStep = Step<
  | 'track'
  | 'verify-all'
  | 'hold'
  | 'legs'
  | 'fence'
  | 'drain'
  | 'verify-touched'
  | 'sequences'
  | 'seal'
  | 'switch'
  | 'open'
  | 'routers'
  | 'finish'
>

export type RollbackStep = Step<
  | 'track'
  | 'verify-all'
  | 'hold'
  | 'close'
  | 'drain'
  | 'verify-touched'
  | 'sequences'
  | 'seal'
  | 'switch-back'
  | 'reopen'
  | 'routers'
  | 'finish'
>

export function planCutover(service: string): CutoverStep[] {
  return [
    step('track', `both pipelines note the keys of ${service} that change from now on`),
    step('verify-all', 'compare every row of both sides by hash; then the keys noted, until the rest takes little'),
    stop('hold', 'routers hold new writes of the service and report none under way'),
    stop('legs', 'the grace of dual-write drops to zero; every open second leg is revoked'),
    stop('fence', "the monolith's tables take no more writes: fence with deadline and token"),
    stop('drain', 'wait until both sinks have seen the token'),
    stop('verify-touched', 'compare the keys noted since'),
    stop('sequences', "move the service's sequences beyond the monolith's"),
    stop('seal', "seal the forward pipeline, write reverse's start token into the service's log"),
    stop('switch', 'switch the authority row: the point of no return'),
    after('open', "shut the monolith's gate for good, open the service's, stage live"),
    after('routers', 'every live router has moved its reads; held writes go to the service'),
    { ...after('finish', 'stop noting keys, restore the grace, audit'), stopsWrites: false },
  ]
}

export function planRollback(service: string): RollbackStep[] {
  return [
    step('track', `both pipelines note the keys of ${service} that change from now on`),
    step('verify-all', 'compare every row of both sides by hash; then the keys noted, until the rest takes little'),
    stop('hold', 'routers hold new writes of the service and report none under way'),
    stop('close', "close the gate of the service's database, write the token into its log"),
    stop('drain', 'wait until the reverse sink has seen the token'),
    stop('verify-touched', 'compare the keys noted since'),
    stop('sequences', "move the monolith's sequences beyond the service's"),
    stop('seal', 'seal the reverse pipeline'),
    stop(
      'switch-back',
      "switch the authority row back, open the monolith's gate, start the forward pipeline: the point of no return",
    ),
    after('reopen', "the service's gate takes second legs again, stage dual-write"),
    after('routers', 'every live router obeys; held writes go to the monolith'),
    { ...after('finish', 'stop noting keys, audit'), stopsWrites: false },
  ]
}

function step<N extends string>(name: N, text: string): Step<N> {
  return { name, text, stopsWrites: false, afterSwitch: false }
}

function stop<N extends string>(name: N, text: string): Step<N> {
  return { name, text, stopsWrites: true, afterSwitch: false }
}

function after<N extends string>(name: N, text: string): Step<N> {
  return { name, text, stopsWrites: true, afterSwitch: true }
}
