// Holds and switches as a router sees them that knows too little: the run has died, the control database is away, it was
// stopped itself.
import { setTimeout as after } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { ask, Scene } from '../../test/support/memory-control.ts'
import type { ServicePolicy } from '../model/policy.ts'

const HOLD = { hold: { run: 1, leftMs: 60_000 } } as const
const SERVICE = { side: 'service', epoch: 2 } as const
const POST = { method: 'POST', body: '{"n":1}', headers: { 'x-user-id': '1' } }

test('a hold whose fence has come and gone without a switch ends by itself', async () => {
  await using scene = await Scene.open()
  const { address, counters } = await scene.router()
  await scene.set({ stage: 'dual-write', ...HOLD })
  const held = ask(address.url, '/users/1', POST)
  while (counters().held < 1) await after(1)
  scene.control.touch('users', { fence: 'closed', fenceRun: 1 })
  await after(120)
  expect(scene.monolith.calls).toHaveLength(0)
  scene.control.touch('users', { fence: 'expired' })
  expect(await held).toMatchObject({ body: 'monolith' })
  // the hold of the next run is another one
  await scene.set({ hold: { run: 2, leftMs: 60_000 } })
  const again = ask(address.url, '/users/1', POST)
  while (counters().held < 2) await after(1)
  await scene.set({ hold: null })
  expect(await again).toMatchObject({ body: 'monolith' })
})

describe('the control database apart is away, the authority rows are not', () => {
  async function away(policy: Partial<ServicePolicy>) {
    const scene = await Scene.open()
    scene.control.apart = true
    const router = await scene.router()
    await scene.set(policy)
    scene.control.away = true
    return { scene, ...router, [Symbol.asyncDispose]: () => scene[Symbol.asyncDispose]() }
  }

  test('writes go on, without second legs', async () => {
    await using router = await away({ stage: 'dual-write', legs: true })
    while (router.counters().policyFailures < 2) await after(1)
    expect(await ask(router.address.url, '/users/1', POST)).toMatchObject({ body: 'monolith' })
    expect(router.counters()).toMatchObject({ held: 0, authorityFailures: 0 })
    expect(router.policy()?.services.get('users')).toMatchObject({ legs: false })
    router.scene.control.away = false
    while (router.policy()?.services.get('users')?.legs !== true) await after(1)
  })

  test('a hold ends with the fence of its run', async () => {
    await using router = await away({ stage: 'dual-write', fence: 'closed', fenceRun: 1, ...HOLD })
    const held = ask(router.address.url, '/users/1', POST)
    while (router.counters().held < 1) await after(1)
    router.scene.control.touch('users', { fence: 'open' })
    expect(await held).toMatchObject({ body: 'monolith' })
  })

  test.each(['monolith', 'users'] as const)('a hold ends in its time, and the %s takes the write', async (body) => {
    const live = { stage: 'live', authority: SERVICE } as const
    await using router = await away({ stage: 'route' })
    router.scene.control.away = false
    await router.scene.set({ ...(body === 'users' && live), hold: null })
    expect(await ask(router.address.url, '/users/1', POST)).toMatchObject({ body })
    const heldBefore = router.counters().held
    await router.scene.set({ hold: { run: 1, leftMs: 400 } })
    router.scene.control.away = true
    const from = performance.now()
    const held = ask(router.address.url, '/users/1', POST)
    while (router.counters().held === heldBefore) await after(1)
    // a rollback that was given up
    if (body === 'users') router.scene.control.touch('users', { authority: { side: 'service', epoch: 3 } })
    expect(await held).toMatchObject({ body })
    expect(performance.now() - from).toBeGreaterThan(300)
  })

  test('a switch is seen, and no write goes to the side that has lost the authority', async () => {
    await using router = await away({ stage: 'dual-write' })
    router.scene.control.touch('users', { authority: SERVICE })
    const seen = router.counters().policyFailures
    while (router.counters().policyFailures < seen + 2) await after(1)
    const held = ask(router.address.url, '/users/1', POST)
    while (router.counters().held < 1) await after(1)
    await after(120)
    expect([router.scene.monolith.calls, router.scene.users.calls]).toEqual([[], []])
    router.scene.control.away = false
    await router.scene.set({ stage: 'live' })
    expect(await held).toMatchObject({ body: 'users' })
  })
})

test('a process that was stopped for long lets no write go by what it knew before', async () => {
  await using scene = await Scene.open()
  const skewed = { ahead: 0, now: () => performance.now() + skewed.ahead }
  const { address, counters } = await scene.router({ clock: skewed, limits: { controlMs: 100 } })
  await scene.set({ stage: 'dual-write' })
  expect(await ask(address.url, '/users/1', POST)).toMatchObject({ body: 'monolith' })
  scene.control.mute = true
  scene.control.set('users', { stage: 'live', authority: SERVICE })
  skewed.ahead = 20_000
  expect(await ask(address.url, '/users/1', POST)).toMatchObject({ body: 'users' })
  expect(counters().held).toBe(1)
  expect(scene.monolith.calls).toHaveLength(1)
})
