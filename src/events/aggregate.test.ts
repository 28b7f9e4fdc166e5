import { expect, expectTypeOf, test } from 'vitest'
import { MigrateError } from '../errors.ts'
import { Aggregate } from './aggregate.ts'
import { event, type EventOf, type StoredEvent } from './define.ts'

const events = { Created: event<{ items: string[] }>(), Paid: event<{ paymentId: string }>() }
type Event = EventOf<typeof events>

class Order extends Aggregate<Event> {
  status = 'NONE'

  create(items: string[]): void {
    this.require(this.status === 'NONE', this.status, 'create')
    this.raise({ type: 'Created', data: { items } })
  }

  pay(paymentId: string): void {
    this.require(this.status === 'CREATED', this.status, 'pay')
    this.raise({ type: 'Paid', data: { paymentId } })
  }

  protected when(event: Event): void {
    this.status = event.type === 'Created' ? 'CREATED' : 'PAID'
  }
}

const stored = (event: Event, version: number): StoredEvent<Event> => ({
  ...event,
  ...{ id: '00000000-0000-4000-8000-000000000000', stream: 'o', version, metadata: {}, createdAt: new Date(0) },
  position: { epoch: 1, tx: 1n, seq: BigInt(version) },
})

test('from its history: state and version; what it raises is uncommitted until it is stored', () => {
  const order = Order.fromHistory('o', [stored({ type: 'Created', data: { items: ['book'] } }, 1)])
  expectTypeOf(order).toEqualTypeOf<Order>()
  expect([order.status, order.version, order.uncommitted]).toEqual(['CREATED', 1, []])
  order.pay('p-1')
  expect([order.status, order.version, order.uncommitted]).toEqual([
    'PAID',
    1,
    [{ type: 'Paid', data: { paymentId: 'p-1' } }],
  ])
  order.markCommitted()
  expect([order.version, order.uncommitted]).toEqual([2, []])
})

test('a guard says what was tried in which state, and raises nothing', () => {
  const order = new Order('o')
  const refused = (): void => order.pay('p-1')
  expect(refused).toThrow(MigrateError)
  expect(refused).toThrow(
    expect.objectContaining({ code: 'INVALID_STATE', context: { aggregate: 'o', state: 'NONE', action: 'pay' } }),
  )
  expect(order.uncommitted).toEqual([])
})
