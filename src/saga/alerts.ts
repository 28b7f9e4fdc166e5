import type { Alert, AlertMemory, AlertName, Alerts } from '../model/alert.ts'
import type { TransactionClient } from '../model/service-database.ts'
import { STRANDED } from './read.ts'

/** What nobody has been told of, be it raised or over, is told again by whoever sees it after so many seconds. */
const UNTOLD = 60
/** Alerts of one name at a time; whoever mends these sees the next. */
const MOST = 50
/** Tries in vain after which somebody should look. */
const IN_VAIN = 10
/** Sagas whose journals are read in one look, and commits of each: enough for the tries of twenty steps at a time. */
const READ = 1_000
const COMMITS = 400

/**
 * Raises what is wrong with the sagas of this database now, and resolves what was raised and is over. Whoever sees it
 * raises it; `alerts` tells it once.
 */
export async function tellOfSagas(client: TransactionClient, service: string, alerts: Alerts): Promise<void> {
  const found = await findTroubles(client, service)
  const now = new Set(found.map(keyOf))
  const { rows } = await client.query(
    `select name, subject, resolved_at is not null or told_at is null and ${LONG_AGO} as untold
     from eventing.saga_alert where resolved_at is null or ${OVER_UNTOLD}`,
    [UNTOLD],
  )
  const raised = rows as { name: AlertName; subject: string; untold: boolean }[]
  // what somebody knows already costs the database nothing more, however many look
  const known = new Set(raised.filter(({ untold }) => !untold).map(keyOf))
  for (const alert of found) if (!known.has(keyOf(alert))) alerts.raise(alert)
  for (const alert of raised) if (!now.has(keyOf(alert))) alerts.resolve(alert.name, service, alert.subject)
}

const LONG_AGO = `tried_at < clock_timestamp() - $1 * interval '1 second'`
/** Somebody has heard of it, and nobody that it is over. */
const OVER_UNTOLD = `resolved_at is not null and told_at is not null and over_told_at is null and ${LONG_AGO}`

function keyOf({ name, subject = '' }: { readonly name: string; readonly subject?: string }): string {
  return `${name} ${subject}`
}

interface Trouble {
  readonly name: AlertName
  readonly subject: string
  readonly saga: string
  readonly step: string | null
  readonly reason: string
  readonly n: number
}

/**
 * Each of its own: what is raised already first, so that a long list does not resolve one to raise another. A step that is
 * tried again and again does not wait all the time: what counts is that it has failed so often, not lately done otherwise.
 */
const TROUBLES = `
  with open as not materialized (
    select s.*, s.name || '/' || s.version as definition from eventing.saga s where s.ended_at is null
  ), old as materialized (
    -- journals are read of so many only: what is tried in vain is open for long
    select o.* from open o where o.status in ('RUNNING', 'COMPENSATING') and o.seq >= ${IN_VAIN}
    order by o.started_at limit ${READ}
  ), troubles as (
    select 'saga-stuck' as name, o.id::text as subject, o.definition as saga, o.step,
      coalesce(last.code, o.failure ->> 'code', '') as reason, 1 as n
    from open o left join lateral (
      -- a compensation that is stuck has another error than what made the saga go back
      select e.entry -> 'failure' ->> 'code' as code from eventing.saga_journal j, jsonb_array_elements(j.entries) as e (entry)
      where j.saga_id = o.id and j.seq = o.seq and e.entry ->> 'do' = 'stuck' limit 1
    ) as last on true
    where o.status = 'STUCK'
    union all
    select 'saga-stranded', s.definition, s.definition, null, '', count(*)::int
    from open s where s.due_at < clock_timestamp() - interval '5 seconds' and ${STRANDED}
    group by s.definition
    union all
    select 'saga-late', o.id::text, o.definition, o.step, '', 1
    from open o where o.status = 'RUNNING' and o.deadline < clock_timestamp() - interval '30 seconds'
    union all
    select 'saga-retrying', o.id::text, o.definition, tries.step, '', tries.n::int
    from old o, lateral (
      select e.entry ->> 'step' as step, count(*) filter (where e.entry ->> 'do' in ('unknown', 'failed')) as n
      from eventing.saga_journal j, jsonb_array_elements(j.entries) as e (entry)
      where j.saga_id = o.id and j.seq > o.seq - ${COMMITS} and e.entry ->> 'do' in ('unknown', 'failed', 'done', 'refused')
        and coalesce(e.entry ->> 'direction', 'execute') = case o.status when 'RUNNING' then 'execute' else 'compensate' end
      group by 1 having count(*) filter (where e.entry ->> 'do' in ('done', 'refused')) = 0
      order by 2 desc limit 1
    ) as tries
    where tries.n >= ${IN_VAIN}
  ), ranked as (
    select t.*, row_number() over (partition by t.name order by a.name is null, t.subject) as rank
    from troubles t left join eventing.saga_alert a on a.name = t.name and a.subject = t.subject and a.resolved_at is null
  )
  select name, subject, saga, step, reason, n from ranked where rank <= ${MOST}`

async function findTroubles(client: TransactionClient, service: string): Promise<Alert[]> {
  const { rows } = await client.query(TROUBLES)
  return (rows as Trouble[]).map((trouble) => {
    const { name, subject, saga, n, step } = trouble
    const next = name === 'saga-stranded' ? `migrate saga stats ${service}` : `migrate saga show ${service} ${subject}`
    return { name, service, subject, summary: summaryOf(trouble), next, context: { saga, count: n, step: step ?? '' } }
  })
}

function summaryOf({ name, subject, saga, step, reason, n }: Trouble): string {
  const at = step === null ? '' : ` at ${step}`
  if (name === 'saga-stuck') return `saga ${subject} (${saga}) is stuck${at}: ${reason}`
  if (name === 'saga-stranded') return `${n} saga(s) of ${saga} have no process that runs them`
  if (name === 'saga-late') return `saga ${subject} (${saga}) is past its deadline${at}`
  return `saga ${subject} (${saga}) was tried in vain ${n} times${at}`
}

/** What was raised, in the service's own database: of several workers that raise the same, one gets true. */
export function sagaAlertMemory(client: TransactionClient): AlertMemory {
  return {
    async raise({ name, subject = '', summary, next }) {
      const { rowCount } = await client.query(
        `insert into eventing.saga_alert as a (name, subject, summary, next, raised_at, tried_at)
         values ($1, $2, $3, $4, clock_timestamp(), clock_timestamp())
         on conflict (name, subject) do update set summary = excluded.summary, next = excluded.next,
           raised_at = case when a.resolved_at is null then a.raised_at else excluded.raised_at end,
           tried_at = excluded.tried_at, told_at = null, resolved_at = null, over_told_at = null
         where a.resolved_at is not null
           or a.told_at is null and a.tried_at < clock_timestamp() - $5 * interval '1 second'`,
        [name, subject, summary, next, UNTOLD],
      )
      return rowCount === 1
    },
    async told(name, _service, subject = '') {
      await client.query(
        `update eventing.saga_alert set told_at = clock_timestamp() where name = $1 and subject = $2 and told_at is null`,
        [name, subject],
      )
    },
    async resolve(name, _service, subject = '') {
      const { rowCount } = await client.query(
        `update eventing.saga_alert
         set resolved_at = coalesce(resolved_at, clock_timestamp()), tried_at = clock_timestamp()
         where name = $2 and subject = $3 and (resolved_at is null or ${OVER_UNTOLD})`,
        [UNTOLD, name, subject],
      )
      return rowCount === 1
    },
    async over(name, _service, subject = '') {
      await client.query(
        `update eventing.saga_alert set over_told_at = clock_timestamp()
         where name = $1 and subject = $2 and resolved_at is not null`,
        [name, subject],
      )
    },
  }
}
