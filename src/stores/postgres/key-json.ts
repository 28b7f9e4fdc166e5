import { type Row, TextValue } from '../../model/change.ts'

/** Key values as they came over the wire: `b` + hex of the binary form, `t` + text. */
export function keyAsJson(key: Row): (string | null)[] {
  return key.map((value) => {
    if (value instanceof TextValue) return `t${value.bytes.toString('utf8')}`
    return Buffer.isBuffer(value) ? `b${value.toString('hex')}` : null
  })
}

/** The same as parameters of a statement. */
export function keyFromJson(key: readonly (string | null)[]): (Buffer | string | null)[] {
  return key.map((value) => {
    if (value === null) return null
    return value.startsWith('t') ? value.slice(1) : Buffer.from(value.slice(1), 'hex')
  })
}
