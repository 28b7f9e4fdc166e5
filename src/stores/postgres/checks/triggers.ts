import { tablesWrittenBy } from '../written-tables.ts'
import { byHand, type Check, type CheckContext, type Found } from './check.ts'

export const triggers: Check = {
  id: 'triggers',
  severity: 'warning',
  looksFor: 'a trigger that writes across the border of the service, is ENABLE ALWAYS, or cannot be looked into',
  why: 'After the cutover it no longer fires where the monolith counts on it, fires twice, or runs into the fence.',
  async find(context) {
    const { rows } = await context.monolith.sql.query<Trigger>(
      `select t.tgname as name, t.tgrelid::regclass::text as "table", t.tgrelid = any($1::oid[]) as moves,
         t.tgenabled as enabled, l.lanname as language, p.oid::regprocedure::text as function, p.prosrc as source
       from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
       join pg_proc p on p.oid = t.tgfoid join pg_language l on l.oid = p.prolang
       where not t.tgisinternal and t.tgparentid = 0 and t.tgenabled <> 'D' and t.tgname <> 'migrate_gate'
         and n.nspname not in ('pg_catalog', 'information_schema', 'migrate')
       order by 2, 1`,
      [context.oids],
    )
    const sides = await namesOfTables(context)
    return rows.flatMap((trigger) => found(context, trigger, sides))
  },
}

interface Trigger {
  readonly name: string
  readonly table: string
  /** its table belongs to the service */
  readonly moves: boolean
  readonly enabled: string
  readonly language: string
  readonly function: string
  readonly source: string
}

type Names = Readonly<Record<'moving' | 'staying', ReadonlySet<string>>>

/** Without schemas: a function may name a table with or without. */
async function namesOfTables({ monolith, oids }: CheckContext): Promise<Names> {
  const { rows } = await monolith.sql.query<{ name: string; moves: boolean }>(
    `select c.relname as name, c.oid = any($1::oid[]) as moves
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema', 'migrate')`,
    [oids],
  )
  const names = (moves: boolean) => new Set(rows.filter((row) => row.moves === moves).map(({ name }) => name))
  return { moving: names(true), staying: names(false) }
}

function found({ monolith, service }: CheckContext, trigger: Trigger, { moving, staying }: Names): Found[] {
  const { name, table, moves, enabled, language } = trigger
  const at = `trigger ${name} on ${table}`
  const known = language === 'plpgsql' || language === 'sql'
  const written = known ? tablesWrittenBy(trigger.source) : { tables: [], dynamic: moves }
  const across = written.tables.filter((written) => (moves ? staying : moving).has(written))
  const all: Found[] = []
  if (across.length > 0) {
    const fix = moves
      ? `Do in the application, or in ${service}, what ${trigger.function} does; the trigger does not move.`
      : `Let the application call ${service} instead: once it is live, this write is refused.`
    const side = moves ? 'stays' : 'moves'
    all.push(byHand(monolith, `${at} writes to ${across.join(', ')}, which ${side}`, trigger.function, fix))
  }
  if (moves && written.dynamic && across.length === 0) {
    const fix = `Read ${trigger.function}: what it writes is decided at run time.`
    all.push(byHand(monolith, `what ${at} writes cannot be told`, `${language}, ${trigger.function}`, fix))
  }
  if (moves && enabled !== 'O') {
    const state = enabled === 'A' ? 'ENABLE ALWAYS' : 'ENABLE REPLICA'
    const fix = `alter table ${table} enable trigger ${name};  -- or make it fit for rows that come back from ${service}`
    all.push(byHand(monolith, `${at} fires for rows that migrate writes`, state, fix))
  }
  return all
}
