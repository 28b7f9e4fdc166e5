-- Sagas of a service, what they have done so far, and who works on them. All times are this database's.

-- A version of a definition keeps its steps: a running saga meets no others.
create table eventing.saga_definition (
  name text not null,
  version int not null,
  -- kinds, names and order of the steps
  shape jsonb not null,
  registered_at timestamptz not null default clock_timestamp(),
  primary key (name, version)
);

-- Processes that run sagas. Whoever is not heard of until lease_until has lost its sagas, and its row, to the others.
create table eventing.saga_worker (
  id bigint generated always as identity primary key,
  host text not null,
  -- definitions that it has, of the same place in both lists
  names text[] not null,
  versions int[] not null,
  started_at timestamptz not null default clock_timestamp(),
  lease_until timestamptz not null
);

create table eventing.saga (
  id uuid primary key,
  name text not null,
  version int not null,
  -- RUNNING | COMPENSATING | STUCK (a human has to decide) | DONE | COMPENSATED
  status text not null default 'RUNNING',
  input jsonb not null,
  -- entries of the journal; every write names the one it has seen
  seq int not null default 0,
  -- grows whenever the saga changes hands; every write of a worker names the one it was given
  epoch bigint not null default 0,
  owner bigint,
  -- from when on a worker may take it; null: not before something happens to it
  due_at timestamptz,
  -- lock | reply | retry
  waiting text,
  deadline timestamptz,
  -- how often its worker has died since it last moved on
  deaths int not null default 0,
  -- where it is, or was when it ended or got stuck
  step text,
  -- why it does not go forward any more
  failure jsonb,
  -- W3C trace context of whoever started it
  traceparent text,
  started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz
)
-- Most changes touch no index, and stay on their page.
with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
create index saga_due on eventing.saga (due_at) where owner is null and due_at is not null;
create index saga_owned on eventing.saga (owner) where owner is not null;
create index saga_open on eventing.saga (started_at) where ended_at is null;
create index saga_ended on eventing.saga (ended_at) where ended_at is not null;

-- What happened, in order; the state of a saga is made of it. One row a commit.
create table eventing.saga_journal (
  saga_id uuid not null,
  seq int not null,
  at timestamptz not null default clock_timestamp(),
  -- list of {"do": intent | done | refused | unknown | failed | compensate | stuck | operator | ended, "step": …, …}
  entries jsonb not null,
  primary key (saga_id, seq)
);

-- Semantic locks: first come, first served. All tickets of a saga have one number, drawn while nobody else could draw one
-- for any of its targets, so sagas wait for older ones only, and never in a ring. It holds a target when no older ticket
-- of that target is there, and goes on when it holds all of its targets.
create sequence eventing.saga_ticket;
create table eventing.saga_lock (
  target text not null,
  ticket bigint not null,
  saga_id uuid not null,
  since timestamptz not null default clock_timestamp(),
  primary key (target, ticket)
);
create index saga_lock_saga on eventing.saga_lock (saga_id);

-- Of the participant: what it was asked for by sagas, elsewhere or here, and what it answered. A row that was compensated
-- stays, so that an execute that comes after it is refused.
create table eventing.saga_participant (
  -- saga/step
  key text primary key,
  -- {"ok": result} | {"refused": reason}
  executed jsonb,
  compensated jsonb,
  created_at timestamptz not null default clock_timestamp()
);
create index saga_participant_age on eventing.saga_participant (created_at);

-- Who was told of what; resolved when the reason is gone.
create table eventing.saga_alert (
  name text not null,
  subject text not null,
  summary text not null,
  next text not null,
  raised_at timestamptz not null,
  tried_at timestamptz not null,
  told_at timestamptz,
  resolved_at timestamptz,
  -- that it is over
  over_told_at timestamptz,
  primary key (name, subject)
);

-- Nobody else takes or gives back these targets until the end of the transaction. Always in the same order.
create function eventing.saga_hold(targets text[]) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(k.key) from (
    select distinct hashtextextended('eventing.saga ' || t.target, 7305218) as key
    from unnest(targets) as t (target) order by key
  ) as k;
end $$;

-- True when the saga holds all of its targets.
create function eventing.saga_holds(saga uuid) returns boolean language sql stable as $$
  select not exists (
    select from eventing.saga_lock mine join eventing.saga_lock older
      on older.target = mine.target and older.ticket < mine.ticket
    where mine.saga_id = saga
  )
$$;

-- Wakes who holds all its targets now; to be called when those who gave them back have committed: of two that give back
-- targets of one saga at the same time, neither sees what the other one does. Returns how many they are.
create function eventing.saga_wake(targets text[]) returns int language plpgsql as $$
declare
  woken int;
begin
  with heads as (
    select distinct on (l.target) l.saga_id from eventing.saga_lock l
    where l.target = any (targets) order by l.target, l.ticket
  ), waiting as (
    -- in one order for everybody who wakes
    select s.id from eventing.saga s
    where s.id in (select h.saga_id from heads h) and s.waiting = 'lock' and s.owner is null
    order by s.id for update
  )
  update eventing.saga s set due_at = clock_timestamp(), waiting = null
  from waiting w where s.id = w.id and eventing.saga_holds(s.id);
  get diagnostics woken = row_count;
  return woken;
end $$;

-- Starts sagas, one row of the answer each: started | waiting (for a lock) | exists. `lock_of` says to which of them the
-- target of the same place belongs. A saga whose owner has lost its lease meanwhile has none.
create function eventing.saga_start(
  ids uuid[], names text[], versions int[], inputs jsonb[], traces text[], deadlines float8[], owners bigint[],
  steps text[], entries jsonb[], lock_of int[], targets text[]
) returns table (ordinal int, outcome text, owned boolean, at float8) language plpgsql as $$
#variable_conflict use_column
declare
  living bigint[];
  fresh int[];
  waits int[] := '{}';
begin
  perform w.id from eventing.saga_worker w where w.id = any (owners) order by w.id for key share;
  select array_agg(w.id) into living from eventing.saga_worker w where w.id = any (owners);
  if cardinality(targets) > 0 then
    -- who waits for a lock has to see what was committed meanwhile
    if current_setting('transaction_isolation') <> 'read committed' then
      raise exception 'sagas with locks are started in transactions that are read committed' using errcode = '25001';
    end if;
    perform eventing.saga_hold(targets);
  end if;
  with inserted as (
    insert into eventing.saga (id, name, version, input, traceparent, deadline, owner, due_at, step, seq)
    select g.id, g.name, g.version, g.input, g.trace, clock_timestamp() + g.deadline * interval '1 ms',
      case when g.owner = any (living) then g.owner end, clock_timestamp(), g.step, case when g.entry is null then 0 else 1 end
    from unnest(ids, names, versions, inputs, traces, deadlines, owners, steps, entries)
      as g (id, name, version, input, trace, deadline, owner, step, entry)
    order by g.id
    on conflict (id) do nothing
    returning id
  )
  select array_agg(g.o::int) into fresh
  from unnest(ids) with ordinality as g (id, o) join inserted i on i.id = g.id;
  insert into eventing.saga_journal (saga_id, seq, entries)
  select ids[o], 1, entries[o] from unnest(fresh) as o where entries[o] is not null;
  if cardinality(targets) > 0 then
    -- in the order in which they came
    insert into eventing.saga_lock (target, ticket, saga_id)
    select l.target, t.ticket, ids[t.o]
    from (select o, nextval('eventing.saga_ticket') as ticket from (select unnest(fresh) as o order by 1) as f) as t
    join unnest(lock_of, targets) as l (o, target) on l.o = t.o;
    select coalesce(array_agg(o), '{}') into waits from unnest(fresh) as o where not eventing.saga_holds(ids[o]);
    update eventing.saga s set owner = null, waiting = 'lock', due_at = s.deadline
    from unnest(waits) as o where s.id = ids[o];
  end if;
  return query
  select g.o::int,
    case when g.o = any (waits) then 'waiting' when g.o = any (fresh) then 'started' else 'exists' end,
    coalesce(owners[g.o] = any (living) and g.o = any (fresh) and not g.o = any (waits), false),
    extract(epoch from clock_timestamp())::float8 * 1000
  from unnest(ids) with ordinality as g (id, o) order by g.o;
end $$;

-- Moves sagas on, those that are still as their worker has seen them: one row for each that counted, with the targets that
-- all of them have given back, for saga_wake. `dues`: milliseconds
-- until somebody may take a saga that is given back, null = when something happens to it. What goes into the outbox
-- belongs to the saga of the place `sent_of`.
create function eventing.saga_commit(
  ids uuid[], epochs bigint[], seqs int[], statuses text[], steps text[], failures jsonb[], releases boolean[],
  waits text[], dues float8[], entries jsonb[],
  sent_of int[], sent_ids uuid[], sent_aggregates text[], sent_keys text[], sent_types text[], sent_payloads jsonb[],
  sent_headers jsonb[], sent_topics text[]
) returns table (ordinal int, at float8, freed text[]) language plpgsql as $$
#variable_conflict use_column
declare
  ends uuid[];
  given_back text[];
  now_at timestamptz;
  counted int[];
begin
  select array_agg(g.id) into ends from unnest(ids, statuses) as g (id, status) where g.status in ('DONE', 'COMPENSATED');
  if ends is not null then
    select array_agg(l.target) into given_back from eventing.saga_lock l where l.saga_id = any (ends);
    if given_back is not null then
      -- before any row, as everybody does
      perform eventing.saga_hold(given_back);
    end if;
  end if;
  perform s.id from eventing.saga s
  join unnest(ids, epochs, seqs) as g (id, epoch, seq) on s.id = g.id and s.epoch = g.epoch and s.seq = g.seq
  order by s.id for update of s;
  now_at := clock_timestamp();
  with moved as (
    update eventing.saga s set seq = s.seq + 1, status = g.status, step = coalesce(g.step, s.step), failure = coalesce(g.failure, s.failure),
      -- that a process has died over a call is no step forward
      deaths = case when g.entry @> '[{"do": "unknown", "error": {"code": "INTERRUPTED"}}]' then s.deaths else 0 end,
      owner = case when g.release then null else s.owner end,
      waiting = g.wait, due_at = case when g.release then now_at + g.due * interval '1 ms' else s.due_at end,
      ended_at = case when g.status in ('DONE', 'COMPENSATED') then now_at end
    from unnest(ids, epochs, seqs, statuses, steps, failures, releases, waits, dues, entries)
      as g (id, epoch, seq, status, step, failure, release, wait, due, entry)
    where s.id = g.id and s.epoch = g.epoch and s.seq = g.seq
    returning s.id
  )
  select array_agg(g.o::int) into counted from unnest(ids) with ordinality as g (id, o) join moved m on m.id = g.id;
  if counted is null then
    return;
  end if;
  insert into eventing.saga_journal (saga_id, seq, at, entries)
  select ids[o], seqs[o] + 1, now_at, entries[o] from unnest(counted) as o;
  if cardinality(sent_of) > 0 then
    insert into eventing.outbox (id, aggregatetype, aggregateid, type, payload, headers, topic)
    select m.id, m.aggregate, m.key, m.type, m.payload, m.headers, m.topic
    from unnest(sent_of, sent_ids, sent_aggregates, sent_keys, sent_types, sent_payloads, sent_headers, sent_topics)
      with ordinality as m (o, id, aggregate, key, type, payload, headers, topic, n)
    where m.o = any (counted) order by m.n;
  end if;
  if given_back is not null then
    delete from eventing.saga_lock l where l.saga_id in (
      select ids[o] from unnest(counted) as o where statuses[o] in ('DONE', 'COMPENSATED')
    );
  end if;
  return query
  select o, extract(epoch from now_at)::float8 * 1000, given_back from unnest(counted) as o;
end $$;

-- Gives a worker sagas that are due, at most so many, if it still has its lease.
create function eventing.saga_claim(worker bigint, names text[], versions int[], most int)
returns setof eventing.saga language plpgsql as $$
begin
  perform from eventing.saga_worker w where w.id = worker and w.lease_until > clock_timestamp() for key share;
  if not found then
    return;
  end if;
  return query
  with due as (
    select s.id from eventing.saga s
    where s.owner is null and s.due_at <= clock_timestamp()
      and exists (select from unnest(names, versions) as d (name, version) where d.name = s.name and d.version = s.version)
    order by s.due_at limit most for update skip locked
  )
  update eventing.saga s set owner = worker, epoch = s.epoch + 1, waiting = null
  from due where s.id = due.id
  returning s.*;
end $$;

-- Takes the sagas from workers that are not heard of any more. Returns how many sagas.
create function eventing.saga_takeover() returns int language plpgsql as $$
declare
  dead bigint;
  taken int := 0;
  more int;
begin
  for dead in
    select w.id from eventing.saga_worker w where w.lease_until < clock_timestamp() order by w.id for update skip locked
  loop
    -- one that sleeps in the middle of a transaction keeps that saga until the transaction is ended, and no other
    with free as (
      select s.id from eventing.saga s where s.owner = dead order by s.id for update skip locked
    )
    update eventing.saga s set owner = null, epoch = s.epoch + 1, deaths = s.deaths + 1, due_at = clock_timestamp()
    from free where s.id = free.id;
    get diagnostics more = row_count;
    taken := taken + more;
    delete from eventing.saga_worker w where w.id = dead and not exists (select from eventing.saga s where s.owner = dead);
  end loop;
  return taken;
end $$;

-- Tickets of sagas that have ended or are gone, and sagas that hold everything and were not told. Returns how many.
create function eventing.saga_reap() returns int language plpgsql as $$
declare
  found text[];
  reaped int := 0;
begin
  select array_agg(distinct l.target) into found from eventing.saga_lock l
  left join eventing.saga s on s.id = l.saga_id
  where s.id is null or s.ended_at is not null
    or s.waiting = 'lock' and s.owner is null and eventing.saga_holds(s.id);
  if found is null then
    return 0;
  end if;
  perform eventing.saga_hold(found);
  delete from eventing.saga_lock l where l.target = any (found)
    and not exists (select from eventing.saga s where s.id = l.saga_id and s.ended_at is null);
  get diagnostics reaped = row_count;
  return reaped + eventing.saga_wake(found);
end $$;
