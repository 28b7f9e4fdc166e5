import { z } from 'zod'
import { postgresOptions } from './postgres/options.ts'

/** Every kind of store: a new one is a folder beside this file and one line here. */
const KINDS = [postgresOptions] as const

/** One entry of `services.NAME.stores`. */
export const storeOptions = z.discriminatedUnion('kind', KINDS, {
  error: `must be one of: ${KINDS.map((kind) => kind.shape.kind.value).join(', ')}`,
})
