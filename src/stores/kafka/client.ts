import { Kafka, logLevel, type KafkaConfig } from 'kafkajs'

/** How to reach Kafka. */
export interface KafkaOptions {
  /** host:port each */
  readonly brokers: readonly string[]
  /** shown to the broker */
  readonly clientId: string
  readonly ssl?: KafkaConfig['ssl']
  readonly sasl?: KafkaConfig['sasl']
}

/** Nothing is contacted yet. What goes wrong comes as errors of the calls, so nothing is logged. */
export function openKafka({ brokers, clientId, ssl, sasl }: KafkaOptions): Kafka {
  return new Kafka({
    ...{ brokers: [...brokers], clientId, logLevel: logLevel.NOTHING },
    ...(ssl !== undefined && { ssl }),
    ...(sasl !== undefined && { sasl }),
    connectionTimeout: 5_000,
    requestTimeout: 15_000,
    retry: { initialRetryTime: 100, maxRetryTime: 2_000, retries: 5 },
  })
}
