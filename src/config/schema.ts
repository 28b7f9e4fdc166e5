import { z } from 'zod'
import { storeOptions } from '../stores/registry.ts'
import { parseSize } from '../model/size.ts'
import { postgresUrl } from '../stores/postgres/options.ts'
import { DEFAULTS } from './defaults.ts'
import { checkNames, checkOneOwner, checkPathKeys, checkSlotNames } from './cross-checks.ts'

const NAME_FORM = 'must be 1 to 30 lowercase letters, digits, - or _, beginning with a letter'
const TABLE_FORM = 'must be a table name, or schema.table'
const HTTP_FORM = 'is not an http URL, expected http://host:port'
const STICKY_FORM = 'must be header:NAME, cookie:NAME or path:NAME'
const PATH_FORM = 'must begin with / and have segments like orders, :id, *, and ** at the end only'
const ID_FORM = 'must be the name of a field, with dots for a nested one'
const TIME_FORM = 'must be a time like 500ms, 60s or 5m'
const SIZE_FORM = 'must be a size like 512KiB, 5MiB or 10GiB'
const RATIO_FORM = 'must be a number from 0.1 to 0.9'
const SESSIONS_FORM = 'must be a whole number from 1'
const LISTEN_FORM = 'must be host:port, for example 127.0.0.1:8080'

const name = text(NAME_FORM, /^[a-z][a-z0-9_-]{0,29}$/)
const tableName = text(TABLE_FORM, /^[^\s.*"\p{Cc}]{1,63}(\.[^\s.*"\p{Cc}]{1,63})?$/u)
const httpUrl = z.string({ error: HTTP_FORM }).refine(isHttpOrigin, { error: HTTP_FORM })

const time = text(TIME_FORM, /^\d+(ms|s|m)$/).transform(milliseconds)

const size = text(SIZE_FORM, /^\d+(\.\d+)? ?(B|KiB|MiB|GiB)$/).transform((given) => parseSize(given) ?? 0)

const tableOptions = z.strictObject({}, { error: 'must be a map of options, or empty' })

const tables = z
  .union([
    z
      .array(tableName, { error: 'must be a list of tables, or a map with options per table' })
      .min(1, 'must name at least one table'),
    z.record(tableName, tableOptions.nullable(), {
      error: 'must be a list of tables, or a map with options per table',
    }),
  ])
  .transform((given) =>
    Array.isArray(given)
      ? Object.fromEntries(given.map((table) => [table, {}]))
      : Object.fromEntries(Object.entries(given).map(([table, options]) => [table, options ?? {}])),
  )

const route = z.strictObject(
  {
    path: text(PATH_FORM, /^(?=\/)(\/([^/*:\s]+|:\w+|\*))*(\/\*\*|\/)?$/).describe(
      'requests that this service answers: literal segments, `:name` or `*` for one segment, `**` at the end for the rest',
    ),
    sticky: z
      .array(text(STICKY_FORM, /^(header|cookie|path):[\w.-]+$/), { error: 'must be a list' })
      .min(1, 'must name at least one key')
      .describe('where the key of a reader is found, first match wins: `header:NAME`, `cookie:NAME` or `path:NAME`'),
    id: text(ID_FORM, /^\w+(\.\w+)*$/)
      .default('id')
      .describe("the field with the new id in the monolith's answer to a create; the service must keep that id"),
  },
  { error: 'must be a map with path and sticky' },
)

const service = z.strictObject(
  {
    http: httpUrl.describe('where the service answers'),
    tables: tables.describe('the tables that move, as a list or as a map with options per table'),
    routes: z.array(route, { error: 'must be a list' }).default([]).describe('the requests that move'),
    idempotent: z
      .boolean({ error: 'must be true or false' })
      .default(true)
      .describe(
        'its write handlers use `idempotent()`; without it a second leg cannot be revoked, and a cutover waits for those without an answer',
      ),
    maxRequestTime: time
      .prefault(`${DEFAULTS.maxRequestMs / 1_000}s`)
      .describe('without `idempotent()`: the longest that one of its requests may run, after its caller has left too'),
    slot: z
      .strictObject(
        {
          detachRatio: z
            .number({ error: RATIO_FORM })
            .min(0.1, RATIO_FORM)
            .max(0.9, RATIO_FORM)
            .default(DEFAULTS.slotDetachRatio)
            .describe('share of max_slot_wal_keep_size at which a slot whose target does not follow is given up'),
          detachBytes: size
            .prefault(`${DEFAULTS.slotDetachBytes / 1024 ** 3}GiB`)
            .describe('the log that it may keep where max_slot_wal_keep_size is unlimited'),
        },
        { error: 'must be a map' },
      )
      .prefault({})
      .describe("when its replication slots are given up, so that the server's disk stays safe"),
    stores: z
      .array(storeOptions, { error: 'must be a list' })
      .min(1, 'must have at least one store')
      .describe('where its data lives'),
  },
  { error: 'must be a map' },
)

const WEBHOOK_FORM = 'must be an https URL without a password; http only to this machine'
const TARGET_FORM = 'must have either webhook or command'

const alert = z
  .strictObject(
    {
      webhook: z
        .string({ error: WEBHOOK_FORM })
        .refine(isWebhook, { error: WEBHOOK_FORM })
        .optional()
        .describe('POST the alert there as JSON'),
      secret: z
        .string({ error: 'must be text' })
        .min(16, 'must have at least 16 characters')
        .optional()
        .describe('signs the webhook: `x-migrate-signature` is the HMAC-SHA256 over `timestamp.body`'),
      command: z
        .array(z.string({ error: 'must be text' }), { error: 'must be a list of the program and its arguments' })
        .min(1, 'must name a program')
        .optional()
        .describe('run this program, without a shell, with the alert as JSON on its stdin'),
    },
    { error: 'must be a map with webhook or command' },
  )
  .transform(({ webhook, secret, command }, context) => {
    if (webhook !== undefined && command === undefined) return { webhook, secret }
    if (command !== undefined && webhook === undefined && secret === undefined) return { command }
    context.addIssue({ code: 'custom', message: TARGET_FORM })
    return z.NEVER
  })

/** `migrate.yaml`. Messages read after the path of the key, and never repeat a value: it may be a secret. */
export const configSchema = z
  .strictObject(
    {
      project: name.describe('names replication slots and publications; never change it'),
      monolith: z
        .strictObject(
          {
            database: postgresUrl.describe("the monolith's database, as the role migrate_apply"),
            http: httpUrl.describe('where the monolith answers'),
            role: text('must be the name of a role', /^[^\p{Cc}]{1,63}$/u)
              .optional()
              .describe('the login role of the monolith itself; it must not be the apply role'),
          },
          { error: 'must be a map' },
        )
        .describe('the application that is taken apart'),
      control: z
        .strictObject(
          { url: postgresUrl.optional().describe("the control database; default: the monolith's") },
          { error: 'must be a map' },
        )
        .default({})
        .describe('where stages, audit, leases and journals are kept, in the schema "migrate"'),
      router: z
        .strictObject(
          {
            listen: text(LISTEN_FORM, /^(\[[\da-f:]+\]|[\w.-]+):\d{1,5}$/i)
              .transform(address)
              .prefault(DEFAULTS.listen)
              .describe('where `migrate route serve` listens'),
          },
          { error: 'must be a map' },
        )
        .prefault({})
        .describe('the HTTP router in front of the monolith'),
      alerts: z
        .array(alert, { error: 'must be a list' })
        .default([])
        .describe('who is told when a sync fails or rows differ, without asking'),
      throttle: z
        .strictObject(
          {
            rate: size.optional().describe('highest rate at which a service writes what it reads, in bytes a second'),
            monolithSessions: z
              .int({ error: SESSIONS_FORM })
              .min(1, SESSIONS_FORM)
              .optional()
              .describe(
                "more statements than this at work in the monolith's database slow the sync to a batch a second",
              ),
          },
          { error: 'must be a map' },
        )
        .default({})
        .describe('how much the sync of each service may take; `migrate sync ctl set` changes it while it runs'),
      services: z
        .record(name, service, { error: 'must be a map of services' })
        .describe('one entry per service, by its name'),
    },
    { error: 'must be a map' },
  )
  .superRefine((config, context) => {
    for (const issue of [
      ...checkNames(config),
      ...checkOneOwner(config),
      ...checkSlotNames(config),
      ...checkPathKeys(config),
    ]) {
      context.addIssue({ code: 'custom', message: issue.message, path: [...issue.path] })
    }
  })

export type Config = z.output<typeof configSchema>
export type ServiceConfig = Config['services'][string]

function text(error: string, form: RegExp) {
  return z.string({ error }).regex(form, { error })
}

function isHttpOrigin(url: string): boolean {
  if (!URL.canParse(url)) return false
  const { protocol, pathname, search, hash, username } = new URL(url)
  return /^https?:$/.test(protocol) && pathname === '/' && search + hash + username === ''
}

function milliseconds(time: string): number {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 }
  return Number.parseInt(time, 10) * (units[time.replace(/^\d+/, '')] ?? Number.NaN)
}

function isWebhook(url: string): boolean {
  if (!URL.canParse(url)) return false
  const { protocol, hostname, username, password } = new URL(url)
  const here = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)
  return (protocol === 'https:' || (protocol === 'http:' && here)) && username + password === ''
}

function address(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(':')
  return { host: listen.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(listen.slice(colon + 1)) }
}
