import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import type pg from 'pg'
import type { FixtureDatabase } from '../../fixtures/servers/database.ts'
import { type KafkaServer, startKafka } from '../../fixtures/servers/kafka.ts'
import { startJsonServer } from '../../fixtures/servers/json-server.ts'
import { type PostgresServer, startPostgres } from '../../fixtures/servers/postgres.ts'
import { type Exit, type RunningProcess, startProcess } from '../../fixtures/servers/process.ts'
import { requireServer } from '../../fixtures/servers/require-server.ts'
import { createInventoryDatabase } from '../../fixtures/services/inventory/database.ts'
import { TOPICS } from '../../fixtures/services/messages.ts'
import { createOrdersDatabase } from '../../fixtures/services/orders/database.ts'
import { createPaymentsDatabase } from '../../fixtures/services/payments/database.ts'
import { createUsersDatabase } from '../../fixtures/services/users/database.ts'
import { openPool } from '../../fixtures/servers/pool.ts'

export const SERVICES = ['orders', 'payments', 'inventory', 'users'] as const
export type Service = (typeof SERVICES)[number]

/** Four services, each a process with a database of its own, and a Kafka between them. */
export interface OrderFlow extends AsyncDisposable {
  readonly server: PostgresServer
  readonly kafka: Kafka
  /** as the superuser */
  readonly databases: Readonly<Record<Service, pg.Pool>>
  /** who logs in to them */
  readonly logins: Readonly<Record<Service, FixtureDatabase>>
  url(service: Service): string
  /** of its process */
  pid(service: Service): number
  /** resolves when its process, as it is now, has ended */
  ended(service: Service): Promise<Exit>
  /** kill -9, and a new process */
  kill(service: Service): Promise<void>
  /** SIGTERM, and a new process once it has ended; how it ended */
  restart(service: Service): Promise<Exit>
}

const CREATE = {
  orders: createOrdersDatabase,
  payments: createPaymentsDatabase,
  inventory: createInventoryDatabase,
  users: createUsersDatabase,
} as const

/** Null: there is no Kafka on this machine. `prices` by product. */
export async function startOrderFlow(prices: ReadonlyMap<number, string>): Promise<OrderFlow | null> {
  const broker = await requireServer(() => startKafka({ name: 'order-flow' }))
  if (broker === null) return null
  const kafka = new Kafka({ brokers: [...broker.brokers], clientId: 'test', logLevel: logLevel.NOTHING })
  await createTopics(kafka)
  const server = await startPostgres({ name: 'order-flow', settings: { max_connections: '300' } })
  const made = {} as Record<Service, FixtureDatabase>
  for (const service of SERVICES) made[service] = await CREATE[service](server)
  const databases = Object.fromEntries(
    SERVICES.map((service) => [service, openPool(made[service].superuser, 3)]),
  ) as Record<Service, pg.Pool>
  const products = await startProducts(prices)
  const start = (service: Service): Promise<RunningProcess> =>
    startService(service, { url: made[service].app, broker, products: products.url, logs: server.folder })
  const running = Object.fromEntries(
    await Promise.all(SERVICES.map(async (service) => [service, await start(service)] as const)),
  ) as Record<Service, RunningProcess>
  return {
    ...{ server, kafka, databases, logins: made },
    url: (service) => urlOf(running[service]),
    pid: (service) => running[service].pid,
    ended: (service) => running[service].exited,
    async kill(service) {
      await running[service].kill9()
      running[service] = await start(service)
    },
    async restart(service) {
      const exit = await running[service].stop()
      running[service] = await start(service)
      return exit
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(SERVICES.map((service) => running[service][Symbol.asyncDispose]()))
      await Promise.all(SERVICES.map((service) => databases[service].end()))
      await products.drain()
      await Promise.all([server[Symbol.asyncDispose](), broker[Symbol.asyncDispose]()])
    },
  }
}

async function createTopics(kafka: Kafka): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: Object.values(TOPICS).map((topic) => ({ topic, numPartitions: 3 })) })
  await admin.disconnect()
}

interface ServiceOptions {
  readonly url: string
  readonly broker: KafkaServer
  readonly products: string
  readonly logs: string
}

let started = 0

function startService(service: Service, { url, broker, products, logs }: ServiceOptions): Promise<RunningProcess> {
  const file = join(import.meta.dirname, '../../fixtures/services', service, 'main.ts')
  started += 1
  return startProcess({
    ...{
      name: service,
      command: process.execPath,
      args: ['--disable-warning=ExperimentalWarning', file, '--pool', '40'],
    },
    env: {
      ...{ PATH: process.env.PATH, DATABASE_URL: url, PRODUCTS_URL: products, KAFKA_BROKERS: broker.brokers.join(',') },
    },
    // more than requests under way may take, and what the flow has at hand
    ...{ patience: 40_000, ready: /^listening on (\S+)/, log: `${logs}/${service}-${started}.log` },
  })
}

function urlOf({ ready }: RunningProcess): string {
  return ready?.[1] ?? ''
}

/** The product API, as far as orders need it. */
function startProducts(prices: ReadonlyMap<number, string>) {
  return startJsonServer({
    ...{ listen: '127.0.0.1:0', side: 'products', answerOf: () => ({ status: 500 }) },
    routes: [
      {
        method: 'GET',
        path: '/products',
        async handle({ query }) {
          const ids = (query.get('ids') ?? '').split(',').map(Number)
          const products = ids.flatMap((id) => (prices.has(id) ? [{ id, price: prices.get(id) }] : []))
          return { status: 200, body: { products } }
        },
      },
    ],
  })
}

/** Sends every message that it sees once more; commands and replies under an id that no inbox knows. */
export async function duplicate(kafka: Kafka): Promise<AsyncDisposable & { readonly count: () => number }> {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  const consumer = kafka.consumer({ groupId: `duplicator-${process.pid}`, maxWaitTimeInMs: 100 })
  await Promise.all([producer.connect(), consumer.connect()])
  let count = 0
  await consumer.subscribe({ topics: Object.values(TOPICS), fromBeginning: true })
  await consumer.run({
    eachBatch: async ({ batch: { topic, messages } }) => {
      const again = messages.filter(({ headers }) => headers?.copy === undefined)
      if (again.length === 0) return
      await producer.send({
        topic,
        messages: again.map(({ key, value, headers = {} }) => {
          const id = topic === TOPICS.orders ? headers.id : `copy of ${String(headers.id)}`
          return { key, value, headers: { ...headers, copy: 'yes', ...(id !== undefined && { id }) } }
        }),
      })
      count += again.length
    },
  })
  return {
    count: () => count,
    async [Symbol.asyncDispose]() {
      await consumer.disconnect()
      await producer.disconnect()
    },
  }
}
