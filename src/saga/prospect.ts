import { isPastPivot, isToTakeBack } from './decide.ts'
import { type AnySaga, placed } from './definition.ts'
import type { Direction, Verb } from './entry.ts'
import { orderOf, whyNot } from './operate.ts'
import { definitionOf, type SagaDetails } from './read.ts'
import { evolve, type SagaState, stateOf, stepOf } from './state.ts'

/** What is left to do for a saga: the steps in their order, forwards or taken back. */
export interface Ahead {
  readonly direction: Direction
  readonly steps: readonly string[]
}

/** What an order would lead to. */
export interface Prospect {
  readonly verb: Verb
  readonly ahead: Ahead
}

const VERBS: readonly Verb[] = ['retry', 'skip', 'resume', 'cancel', 'not-done']

/** The orders that are possible now. */
export function prospectsOf(saga: SagaDetails): Prospect[] {
  const state = stateOf(saga.journal)
  const asked = { by: '', reason: null }
  return VERBS.filter((verb) => whyNot(saga, state, { verb, ...asked }) === null).map((verb) => {
    const after = evolve(state, [orderOf(state, { verb, ...asked })], Date.now())
    return { verb, ahead: aheadOf(saga, after) }
  })
}

/** If nothing is refused, and nothing else happens to it. */
export function aheadOf(saga: Pick<SagaDetails, 'name' | 'version' | 'steps'>, state: SagaState): Ahead {
  const definition = definitionOf(saga)
  const back = goesBack(definition, state)
  return {
    direction: back ? 'compensate' : 'execute',
    steps: back ? stepsBack(definition, state) : stepsOnward(definition, state),
  }
}

function goesBack(definition: AnySaga, state: SagaState): boolean {
  return state.status === 'COMPENSATING' || (state.cancelled !== null && !isPastPivot(definition, state))
}

function stepsBack(definition: AnySaga, state: SagaState): string[] {
  return placed(definition)
    .toReversed()
    .filter(({ step }) => isToTakeBack(step, state) && stepOf(state, step.name).compensate.state !== 'done')
    .map(({ step }) => step.name)
}

function stepsOnward(definition: AnySaga, state: SagaState): string[] {
  return placed(definition)
    .filter(({ step }) => stepOf(state, step.name).execute.state !== 'done')
    .map(({ step }) => step.name)
}
