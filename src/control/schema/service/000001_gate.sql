-- The service's side of the gate, in the service's own PostgreSQL.

create table migrate.gate (
  service text primary key,
  epoch bigint not null,
  mode text not null check (mode in ('closed', 'legs', 'open')),
  -- the highest fencing token of a run that has changed this row
  run bigint not null default 0
);

-- Idempotency keys of second legs: inserted by the leg in its own transaction, or by the sink, which thereby
-- revokes a leg that may still come.
create table migrate.seen (
  key uuid primary key,
  service text not null,
  by text not null check (by in ('leg', 'sink')),
  status int,
  answer jsonb,
  at timestamptz not null default clock_timestamp()
);
create index seen_at on migrate.seen (at);

create function migrate.service_gate() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare m text; e bigint;
begin
  if session_user = tg_argv[1] then return null; end if;
  perform pg_advisory_xact_lock_shared(1835623283, hashtext(tg_argv[0]));
  if current_setting('transaction_isolation') = 'read committed' then
    select mode, epoch into m, e from migrate.gate where service = tg_argv[0];
  else
    select mode, epoch into m, e from migrate.gate where service = tg_argv[0] for share;
  end if;
  if m = 'open' then return null; end if;
  if m = 'legs' and current_setting('migrate.leg', true) = e::text then return null; end if;
  raise exception 'migrate: % does not take writes here now', tg_argv[0] using errcode = '25006';
end $$;

-- Changes the gate; closing it waits for transactions that have passed it, opening it for legs under way only (they
-- hold the row). False: a newer run or epoch was here.
create function migrate.set_gate(svc text, r bigint, e bigint, m text) returns bool language plpgsql
set lock_timeout = '200ms' as $$
begin
  if m <> 'open' then perform pg_advisory_xact_lock(1835623283, hashtext(svc)); end if;
  update migrate.gate set mode = m, epoch = e, run = r where service = svc and run <= r and epoch <= e;
  return found;
end $$;

-- Called by idempotent() inside the service's transaction. Answers 'apply', 'replayed', 'revoked' or 'refused'.
create function migrate.leg_begin(svc text, k uuid, e bigint, idle_ms int)
returns table (outcome text, status int, answer jsonb) language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare m text; ge bigint; kept migrate.seen;
begin
  perform set_config('idle_in_transaction_session_timeout', idle_ms::text, true);
  -- for share in this transaction: a change of the gate waits for the leg
  perform pg_advisory_xact_lock_shared(1835623283, hashtext(svc));
  select g.mode, g.epoch into m, ge from migrate.gate g where g.service = svc for share;
  -- the first 48 bits of a UUIDv7 are its time in milliseconds; older than the retention of migrate.seen = refused
  if m is distinct from 'legs' or ge is distinct from e
     or ('x' || lpad(replace(left(k::text, 13), '-', ''), 16, '0'))::bit(64)::bigint
        < extract(epoch from clock_timestamp() - interval '24 hours') * 1000 then
    return query select 'refused', null::int, null::jsonb;
    return;
  end if;
  insert into migrate.seen (key, service, by) values (k, svc, 'leg') on conflict do nothing;
  if not found then
    -- "by" in quotes: a bare one is a keyword of plpgsql
    select * into kept from migrate.seen s where s.key = k;
    return query select case when kept."by" = 'leg' then 'replayed' else 'revoked' end, kept.status, kept.answer;
    return;
  end if;
  perform set_config('migrate.leg', e::text, true);
  return query select 'apply', null::int, null::jsonb;
end $$;

create function migrate.leg_end(k uuid, s int, a jsonb) returns void language sql security definer
set search_path = pg_catalog, pg_temp as $$
  update migrate.seen set status = s, answer = a where key = k
$$;

-- the service logs in as a role of its own; the functions above are all it may touch
grant usage on schema migrate to public;
revoke all on function migrate.set_gate(text, bigint, bigint, text) from public;
