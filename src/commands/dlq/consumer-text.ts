import type { ConsumerLetter, ShownKey } from '../../app/consumer-letters.ts'
import type { StoredLetter } from '../../control/dead-letters.ts'
import { type Colors, keyValues, plain, table } from '../../ui/text.ts'
import { age } from '../reconcile-text.ts'

/** Letters of any kind as one table. */
export function allLettersText(letters: readonly (StoredLetter | ConsumerLetter)[], ansi: Colors): string {
  if (letters.length === 0) return 'no dead letters'
  const columns = ['kind', 'service', 'id', 'state', 'error', 'what', 'tries', 'age']
  const rows = letters.map((letter) => [
    ...[letter.kind, letter.service, letter.id, letter.state],
    letter.kind === 'consumer' ? line(letter.error) : letter.code,
    letter.kind === 'consumer' ? place(letter) : `${letter.method} ${line(letter.path)}`,
    ...[String(letter.attempts), age(letter.age)],
  ])
  return table(
    columns.map((title) => ({ title })),
    rows,
    ansi,
  )
}

/** Keys whose records wait, as a table. */
export function keysText(keys: readonly ShownKey[], ansi: Colors): string {
  const columns = ['service', 'consumer', 'topic', 'key', 'waits', 'records', 'error', 'tries', 'next try']
  const rows = keys.map((key) => [
    ...[key.service, line(key.consumer), line(key.topic), line(key.key)],
    ...[key.state === 'blocked' ? 'behind a letter' : 'to be tried again', String(key.records), line(key.error)],
    ...[String(key.attempts), key.state === 'blocked' ? '-' : key.dueAt],
  ])
  return table(
    columns.map((title) => ({ title })),
    rows,
    ansi,
  )
}

/** What `migrate dlq show` has beyond the list. */
export interface LetterDetails {
  readonly headers: readonly (readonly [string, string])[]
  readonly message: string
  /** null = not wanted */
  readonly body: string | null
}

export function consumerLetterText(letter: ConsumerLetter, details: LetterDetails, ansi: Colors): string {
  const { headers, message, body } = details
  const pairs: [string, string][] = [
    ['letter', `${letter.id} (consumer), ${letter.state}`],
    ['service', letter.service],
    ['consumer', line(letter.consumer)],
    ['message', `${line(letter.type ?? 'without a type')}, id ${line(letter.messageId ?? 'none')}`],
    ['from', place(letter)],
    ['value', letter.valueBytes === null ? 'none (a tombstone)' : `${letter.valueBytes} bytes`],
    ['error', `${line(letter.error)}: ${line(message)}`],
    ['tries', String(letter.attempts)],
    ['since', letter.createdAt],
    ...(letter.settledBy === null ? [] : [[letter.state, settled(letter)] as [string, string]]),
    ...headers.map(([name, value]): [string, string] => [`header ${line(name)}`, line(value)]),
  ]
  return [keyValues(pairs, ansi), ...(body === null ? [] : ['', plain(body)])].join('\n')
}

function place({ topic, partition, offset, key }: ConsumerLetter): string {
  return `${line(topic)}/${partition} @${offset}${key === null ? '' : `, key ${line(key)}`}`
}

function settled({ settledBy, settledAt }: ConsumerLetter): string {
  return `by ${settledBy ?? '?'}${settledAt === null ? '' : ` at ${settledAt}`}`
}

/** In one line, so that nobody's data looks like ours. */
function line(text: string): string {
  return plain(text).replace(/[\t\n]+/g, ' ')
}
