-- The event store of a service. Events are written by eventing.append alone.

-- Numbers of transactions, by which events are ordered for subscribers, begin anew in another cluster: an epoch comes
-- before them, and grows when the store finds itself somewhere else.
create table eventing.store (
  one boolean primary key default true check (one),
  epoch int not null,
  -- where that epoch is: identifier of the cluster, database, timeline
  place text not null
);

create table eventing.stream (
  aggregate_id text primary key,
  version bigint not null,
  -- the number that its last events have in the order of subscribers
  last_epoch int not null,
  last_tx xid8 not null,
  -- of the last event; null: this stream is not chained
  hash bytea
);

create sequence eventing.event_seq;

create table eventing.event_store (
  aggregate_id text not null,
  -- 1, 2, 3 … without a gap
  version bigint not null,
  event_id uuid not null,
  event_type text not null,
  schema_version int not null,
  event_data jsonb not null,
  metadata jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  epoch int not null,
  tx xid8 not null,
  seq bigint not null default nextval('eventing.event_seq'),
  hash bytea,
  primary key (aggregate_id, version),
  unique (aggregate_id, event_id)
);
create index event_store_order on eventing.event_store (epoch, tx, seq);

create table eventing.snapshot (
  aggregate_id text primary key,
  version bigint not null,
  schema_version int not null,
  state jsonb not null,
  created_at timestamptz not null default clock_timestamp()
);

-- How far a subscription or projection is: the last event that it has handled.
create table eventing.checkpoint (
  name text primary key,
  epoch int not null default 0,
  tx xid8 not null default '0',
  seq bigint not null default 0,
  -- of a projection: its table, which is emptied when everything is replayed
  projection_table text,
  events bigint not null default 0,
  moved_at timestamptz not null default clock_timestamp()
);

-- What operators have changed by hand, written in the same transaction as the change.
create table eventing.audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  who text not null,
  action text not null,
  target text not null,
  reason text,
  before jsonb,
  after jsonb
);

create function eventing.place() returns text language sql stable as $$
  select format('%s/%s/%s', s.system_identifier, d.oid, c.timeline_id)
  from pg_control_system() s, pg_control_checkpoint() c, pg_database d where d.datname = current_database()
$$;

-- The present epoch; a new one where the store is somewhere else than before. What was appended in the old one is
-- committed then: each append holds the lock, shared, until its end.
create function eventing.current_epoch() returns int language plpgsql as $$
declare
  here text := eventing.place();
  found eventing.store;
begin
  select * into found from eventing.store;
  if found.place = here then
    perform pg_advisory_xact_lock_shared(7305216);
    select * into found from eventing.store;
    if found.place = here then
      return found.epoch;
    end if;
  end if;
  -- not while holding it shared: two who do would wait for each other
  perform pg_advisory_xact_lock(7305216);
  insert into eventing.store (epoch, place) values (1, here)
  on conflict (one) do update set epoch = store.epoch + 1, place = excluded.place where store.place <> excluded.place;
  select * into found from eventing.store;
  return found.epoch;
end $$;

-- SHA-256 over the hash before it and the length and bytes of each field, as text; jsonb as PostgreSQL writes it.
create function eventing.event_hash(before bytea, e eventing.event_store) returns bytea language sql stable as $$
  select sha256(before || string_agg(int4send(octet_length(field)) || field, '' order by n))
  from unnest(array[
    convert_to(e.aggregate_id, 'UTF8'), convert_to(e.version::text, 'UTF8'), convert_to(e.event_id::text, 'UTF8'),
    convert_to(e.event_type, 'UTF8'), convert_to(e.schema_version::text, 'UTF8'),
    convert_to(e.event_data::text, 'UTF8'), convert_to(e.metadata::text, 'UTF8'),
    convert_to((extract(epoch from e.created_at) * 1000000)::bigint::text, 'UTF8')
  ]) with ordinality as fields (field, n)
$$;

-- Appends to several streams at once, to each at most once. `expected`: a version, -1 = any, -2 = the stream exists.
-- `lengths` says how many of the events, which come behind each other, belong to which stream. One row each:
-- appended | stored (all of them were there already) | conflict | overlap (some were there), and the version of the stream.
create function eventing.append(
  streams text[], expected bigint[], lengths int[],
  ids uuid[], types text[], schema_versions int[], data jsonb[], metas jsonb[], chained boolean
) returns table (ordinal int, outcome text, version bigint) language plpgsql as $$
#variable_conflict use_column
declare
  this_epoch int := eventing.current_epoch();
  this_tx xid8 := pg_current_xact_id();
  has_chain boolean;
begin
  -- Everybody takes the new streams first, then all, each time in order of their names: so nobody waits for somebody who
  -- waits for them. Who waits for the maker of a stream holds nothing but new ones with lower names.
  insert into eventing.stream (aggregate_id, version, last_epoch, last_tx, hash)
  select a.stream, 0, 0, '0', case when chained then ''::bytea end
  from unnest(streams, expected) as a (stream, expect)
  where a.expect in (0, -1) and not exists (select from eventing.stream s where s.aggregate_id = a.stream)
  order by a.stream
  on conflict do nothing;
  select coalesce(bool_or(locked.hash is not null), false) into has_chain from (
    select s.hash from eventing.stream s where s.aggregate_id = any (streams) order by s.aggregate_id for update
  ) as locked;
  -- A statement of its own, for a snapshot behind the locks: a retry that has waited for its own first try sees it.
  return query
  with appends as (
    select a.o::int as o, a.stream, a.expect, a.n, sum(a.n) over (order by a.o) - a.n as before,
      coalesce(s.version, 0) as version, s.last_epoch, s.last_tx
    from unnest(streams, expected, lengths) with ordinality as a (stream, expect, n, o)
    left join eventing.stream s on s.aggregate_id = a.stream
  ), stored as (
    select found.o, count(found.version) as n, min(found.version) as first, max(found.version) as last
    from (
      -- one look into the index for each: a join is planned once, while the table is empty, and as a scan of it
      select a.o, (
        select e.version from eventing.event_store e where e.aggregate_id = a.stream and e.event_id = w.id
      ) as version
      from appends a join lateral unnest(ids[a.before + 1 : a.before + a.n]) as w (id) on true
      where a.version > 0
    ) as found
    group by found.o
  ), judged as (
    select a.*, case
      when s.n = a.n and s.last - s.first + 1 = a.n and (a.expect < 0 or s.first = a.expect + 1) then 'stored'
      when s.n > 0 then 'overlap'
      when a.expect = -1 or a.version = a.expect or (a.expect = -2 and a.version > 0) then 'appended'
      else 'conflict' end as outcome,
      s.last as stored_last,
      case when a.last_epoch = this_epoch then greatest(a.last_tx, this_tx) else this_tx end as tx
    from appends a left join stored s using (o)
  ), inserted as (
    insert into eventing.event_store
      (aggregate_id, version, event_id, event_type, schema_version, event_data, metadata, epoch, tx)
    select j.stream, j.version + e.n, e.id, e.type, e.schema_version, e.data, e.meta, this_epoch, j.tx
    from judged j
    join lateral (
      select i - j.before as n, ids[i] as id, types[i] as type, schema_versions[i] as schema_version,
        data[i] as data, metas[i] as meta
      from generate_series(j.before + 1, j.before + j.n) as i
    ) e on true
    where j.outcome = 'appended'
    order by j.o, e.n
  ), moved as (
    update eventing.stream s set version = j.version + j.n, last_epoch = this_epoch, last_tx = j.tx
    from judged j where j.outcome = 'appended' and s.aggregate_id = j.stream
  )
  select j.o, j.outcome, case j.outcome when 'appended' then j.version + j.n when 'stored' then j.stored_last else j.version end
  from judged j order by j.o;
  if has_chain then
    perform eventing.chain(streams, lengths);
  end if;
end $$;

-- Gives the last events of these streams, so many of each, their hash.
create function eventing.chain(streams text[], lengths int[]) returns void language plpgsql as $$
declare
  s record;
  e eventing.event_store;
begin
  for s in
    select st.aggregate_id, st.version - a.n as before, st.hash
    from unnest(streams, lengths) as a (stream, n) join eventing.stream st on st.aggregate_id = a.stream
    where st.hash is not null
  loop
    -- stream by stream: as one join the planner reads streams without statistics from their beginning
    for e in
      select * from eventing.event_store
      where aggregate_id = s.aggregate_id and version > s.before and hash is null order by version
    loop
      s.hash := eventing.event_hash(s.hash, e);
      update eventing.event_store set hash = s.hash where aggregate_id = e.aggregate_id and version = e.version;
    end loop;
    update eventing.stream set hash = s.hash where aggregate_id = s.aggregate_id and hash <> s.hash;
  end loop;
end $$;

select eventing.current_epoch();
