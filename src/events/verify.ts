import type { TransactionClient } from '../model/service-database.ts'

/** What is wrong at one place of a stream. */
export interface EventDefect {
  readonly stream: string
  /** of the event; where events are missing, of the first one behind the gap, or 1 + the last one */
  readonly version: number
  /**
   * edited: its hash is not what follows from its fields and the hash before it · missing: events before it are gone ·
   * unchained: it has no hash and should have one · extra: it is behind the end of its stream
   */
  readonly problem: 'edited' | 'missing' | 'unchained' | 'extra'
}

export interface Verification {
  readonly streams: number
  readonly events: number
  /** streams with a hash chain; the others are looked through for gaps only */
  readonly chained: number
  readonly defects: readonly EventDefect[]
}

/** Streams that one statement goes through. */
const PAGE = 500

/** Recomputes every hash chain and looks for gaps, of one stream or of all. Reads only; streams may be appended to meanwhile. */
export async function verifyEvents(
  client: TransactionClient,
  { stream, signal }: { readonly stream?: string; readonly signal: AbortSignal },
): Promise<Verification> {
  const total = { streams: 0, events: 0, chained: 0, defects: [] as EventDefect[] }
  for (let after: string | null = null; ; ) {
    signal.throwIfAborted()
    const page: Page = await verifyPage(client, after, stream ?? null)
    total.streams += page.streams
    total.events += page.events
    total.chained += page.chained
    total.defects.push(...page.defects)
    if (page.last === null || stream !== undefined) return total
    after = page.last
  }
}

interface Page extends Verification {
  readonly last: string | null
}

/** One statement, so that a stream and its events are of the same moment. */
async function verifyPage(client: TransactionClient, after: string | null, only: string | null): Promise<Page> {
  const { rows } = await client.query(
    `with page as (
       select aggregate_id from eventing.stream
       where ($1::text is null or aggregate_id > $1) and ($2::text is null or aggregate_id = $2)
       order by 1 limit ${PAGE}
     ), bound as (
       select case when count(*) = ${PAGE} then max(aggregate_id) end as upto from page
     ), streams as (
       -- what has events and no row is found too
       select id, s.version, s.hash from (
         select aggregate_id as id from page union
         select e.aggregate_id from eventing.event_store e, bound
         where ($1::text is null or e.aggregate_id > $1) and ($2::text is null or e.aggregate_id = $2)
           and (upto is null or e.aggregate_id <= upto)
       ) as both_of left join eventing.stream s on s.aggregate_id = id
     ), events as (
       select e.aggregate_id, e.version, s.version as last, s.hash as head, e.hash,
         lag(e.version, 1, 0::bigint) over each as before,
         s.hash is null or e.hash = eventing.event_hash(coalesce(lag(e.hash) over each, ''), e) as intact
       from eventing.event_store e join streams s on s.id = e.aggregate_id
       window each as (partition by e.aggregate_id order by e.version)
     ), defects as (
       select aggregate_id, version, case
         when version <> before + 1 then 'missing'
         when version > coalesce(last, 0) then 'extra'
         when head is not null and hash is null then 'unchained'
         else 'edited' end as problem
       from events
       where version <> before + 1 or version > coalesce(last, 0) or intact is not true
       union all
       -- the end of the stream is gone, or its last hash is another
       select s.id, coalesce(max(e.version), 0) + 1, 'missing' from streams s left join events e on e.aggregate_id = s.id
       group by s.id, s.version having coalesce(max(e.version), 0) < s.version
       union all
       select e.aggregate_id, e.version, 'edited' from events e
       where e.version = e.last and e.head is not null and e.hash is not null and e.hash <> e.head and e.intact
     )
     select (select upto from bound) as last, (select count(*)::int from streams) as streams,
       (select count(*)::int from streams where hash is not null) as chained,
       (select count(*)::int from events) as events,
       coalesce((select json_agg(json_build_object('stream', aggregate_id, 'version', version, 'problem', problem)
         order by aggregate_id, version) from defects), '[]') as defects`,
    [after, only],
  )
  return rows[0] as Page
}
