import { z } from 'zod'

const URL_FORM = 'is not a postgres URL, expected postgres://user:password@host:port/database'

/** A connection URL. Its message never repeats what was given: it may hold a password. */
export const postgresUrl = z.string({ error: URL_FORM }).refine(isPostgresUrl, { error: URL_FORM })

/** The keys of a store of kind `postgres`. This file never imports a driver. */
export const postgresOptions = z
  .strictObject({
    kind: z.literal('postgres').describe('the kind of store'),
    url: postgresUrl.describe('the database of the service, as the apply role'),
  })
  .describe('A PostgreSQL database')

function isPostgresUrl(text: string): boolean {
  if (!/^postgres(ql)?:\/\//.test(text) || !URL.canParse(text)) return false
  const { hostname, pathname } = new URL(text)
  return hostname !== '' && pathname.length > 1
}
