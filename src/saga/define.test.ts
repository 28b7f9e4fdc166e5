import { describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import { defineSaga, type Stored } from './define.ts'

const nothing = { execute: async () => 1, compensate: null }
const saga = () => defineSaga<{ n: number }>({ name: 'S', version: 1 })

/** As JavaScript, or a mistake of types, would make them. */
// biome-ignore lint/suspicious/noExplicitAny: what the types refuse
const untyped = (): any => saga()

describe('a saga that could not be carried out', () => {
  it.each<[string, () => unknown]>([
    ['"compensate"', () => untyped().call('a', { execute: nothing.execute }).build()],
    [
      'cannot have "compensate"',
      () =>
        untyped()
          .call('a', { ...nothing, kind: 'pivot', compensate: nothing.execute })
          .build(),
    ],
    [
      'after a step that cannot',
      () => untyped().call('a', { execute: nothing.execute, kind: 'pivot' }).call('b', nothing).build(),
    ],
    [
      'after a step that cannot',
      () =>
        untyped()
          .call('a', { execute: nothing.execute, kind: 'retriable' })
          .call('b', { execute: nothing.execute, kind: 'pivot' })
          .build(),
    ],
    [
      'second pivot',
      () =>
        untyped()
          .call('a', { execute: nothing.execute, kind: 'pivot' })
          .call('b', { execute: nothing.execute, kind: 'pivot' })
          .build(),
    ],
    ['two steps are called a', () => untyped().call('a', nothing).local('a', nothing).build()],
    [
      'two steps are called a',
      () =>
        untyped()
          .call('a', nothing)
          .parallel((g: ReturnType<typeof untyped>) => g.call('a', nothing))
          .build(),
    ],
    [
      'crosses the pivot',
      () =>
        untyped()
          .parallel((g: ReturnType<typeof untyped>) =>
            g.call('a', nothing).call('b', { execute: nothing.execute, kind: 'pivot' }),
          )
          .build(),
    ],
    ['has no steps', () => untyped().build()],
    [
      'has no steps',
      () =>
        untyped()
          .parallel((g: unknown) => g)
          .build(),
    ],
    ['begins with a letter', () => untyped().call('a b', nothing).build()],
    ['begins with a letter', () => defineSaga({ name: '', version: 1 }).call('a', nothing).build()],
    ['1, 2, 3', () => defineSaga({ name: 'S', version: 0 }).call('a', nothing).build()],
    [
      'replyTo',
      () =>
        untyped()
          .command('a', { execute: () => ({ topic: 't', type: 'T', payload: 1 }), compensate: null })
          .build(),
    ],
    [
      'timeout',
      () =>
        untyped()
          .call('a', { ...nothing, timeout: 0 })
          .build(),
    ],
    [
      'once at least',
      () =>
        untyped()
          .call('a', { ...nothing, retry: { attempts: 0 } })
          .build(),
    ],
    [
      'between two tries',
      () =>
        untyped()
          .call('a', { ...nothing, compensationRetry: { longest: Number.NaN } })
          .build(),
    ],
  ])('is refused: %s', (reason, build) => {
    expect(build).toThrowError(expect.objectContaining({ code: 'SAGA_DEFINITION_INVALID' }))
    expect(build).toThrowError(reason)
  })
})

describe('the types of a saga', () => {
  it('know the results of earlier steps, and refuse what `build` refuses', () => {
    const built = saga()
      .call('one', { execute: async ({ input }) => input.n, compensate: async ({ result }) => result?.toFixed() })
      .parallel((group) =>
        group
          .call('two', { execute: async ({ results }) => String(results.one), compensate: null })
          .local('three', { execute: async (_, { results }) => [results.one], compensate: null }),
      )
      .call('four', {
        kind: 'pivot',
        execute: async ({ results: { one, two, three } }) => ({ sum: one + Number(two) + (three[0] ?? 0) }),
      })
      .local('five', { kind: 'retriable', execute: async (_, { results }) => results.four.sum })
      .build()
    expect(built.groups.map(({ steps }) => steps.map(({ name }) => name))).toEqual([
      ['one'],
      ['two', 'three'],
      ['four'],
      ['five'],
    ])
    const begun = saga()
    // @ts-expect-error a compensable step says how it is taken back
    expect(() => begun.call('a', { execute: nothing.execute }).build()).toThrow()
    const final = saga().call('a', { kind: 'pivot', execute: nothing.execute })
    // @ts-expect-error nothing is compensable after the pivot
    expect(() => final.call('b', nothing).build()).toThrow()
    // @ts-expect-error a name is there once
    expect(() => saga().call('a', nothing).call('a', nothing).build()).toThrow()
    // @ts-expect-error there is no such result
    saga().call('a', { execute: async ({ results }) => results.b, compensate: null })
    saga().command('a', {
      execute: ({ input }) => ({ topic: 't', type: 'T', payload: input.n }),
      compensate: ({ result }) => ({ topic: 't', type: 'U', payload: result?.left.toFixed() }),
      reply: z.object({ left: z.int() }),
    })
  })
  it('say what is wrong: in the name of the step, or at the option', () => {
    const final = saga().call('a', { kind: 'pivot', execute: nothing.execute })
    // @ts-expect-error '"a"' is not assignable to '"two steps are called a"'
    final.call('a', { kind: 'retriable', execute: nothing.execute })
    // @ts-expect-error '"b"' is not assignable to '"after the pivot there are only retriable steps"'
    final.call('b', { kind: 'pivot', execute: nothing.execute })
    // @ts-expect-error no such option, and no complaint about the others
    saga().call('a', { execute: nothing.execute, compensate: null, timout: 5 })
    // @ts-expect-error the pivot is not taken back
    saga().call('a', { ...nothing, kind: 'pivot', compensate: nothing.execute })
    // @ts-expect-error it promises nothing
    saga().call('a', { execute: () => 5, compensate: null })
    // @ts-expect-error the group crosses the pivot
    saga().parallel((group) => group.call('a', nothing).call('b', { kind: 'retriable', execute: nothing.execute }))
  })

  it('are those of what comes out of the journal', () => {
    interface Trip {
      readonly at: Date
      readonly seats: readonly (1 | 2)[]
    }
    expectTypeOf<Stored<Trip>>().toEqualTypeOf<{ readonly at: string; readonly seats: readonly (1 | 2)[] }>()
    expectTypeOf<Stored<unknown>>().toBeUnknown()
    expectTypeOf<Stored<{ a?: string; b: [number, null] }>>().toEqualTypeOf<{ a?: string; b: [number, null] }>()
    expectTypeOf<Stored<{ n: bigint; run: () => void }>>().toEqualTypeOf<{ n: never; run: never }>()
    defineSaga<Trip>({ name: 'S', version: 1, locks: ({ at }) => [at.slice(0, 10)] })
      .call('a', { execute: async ({ input }) => new Date(input.at), compensate: async ({ result }) => result?.trim() })
      .call('b', { kind: 'pivot', execute: async ({ results }) => Date.parse(results.a) })
  })
})
