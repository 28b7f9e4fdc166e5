-- Who may write, and the gate that enforces it. Always in the monolith's own database.
-- Every call that changes something here is one autocommitted statement, so that a client that freezes
-- never holds the lock.

-- changes only by switch and switch_back
create table migrate.authority (
  service text primary key,
  epoch bigint not null,
  state text not null check (state in ('monolith', 'service'))
);

-- the latest fence; run = the fencing token of the lease under which a cutover works
create table migrate.fence (
  service text primary key,
  run bigint not null,
  deadline bigint not null,
  plan text
);

create function migrate.now_us() returns bigint language sql as $$
  select (extract(epoch from clock_timestamp()) * 1000000)::bigint
$$;

-- waits at most 200 ms: everybody who writes to the service's tables would queue behind a longer wait
create function migrate.lock_gate(svc text) returns void language plpgsql set lock_timeout = '200ms' as $$
begin
  perform pg_advisory_xact_lock(1835623282, hashtext(svc));
end $$;

-- The sequence fence_<service>, read outside MVCC: 0 = open, else the fence's deadline in microseconds since 1970,
-- bigint max = closed for good.
create function migrate.fence_value(svc text) returns bigint language sql as $$
  select pg_sequence_last_value(format('migrate.%I', 'fence_' || svc)::regclass)
$$;

create function migrate.enrol(svc text) returns void language plpgsql as $$
begin
  insert into migrate.authority values (svc, 1, 'monolith') on conflict do nothing;
  insert into migrate.fence values (svc, 0, 0, null) on conflict do nothing;
  if to_regclass(format('migrate.%I', 'fence_' || svc)) is null then
    execute format('create sequence migrate.%I minvalue 0 start 0 cache 1', 'fence_' || svc);
    perform setval(format('migrate.%I', 'fence_' || svc)::regclass, 0, true);
  end if;
end $$;

-- The trigger on every table and leaf partition of a service: arguments are the service and the apply role.
create function migrate.gate() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare f bigint; s text;
begin
  if session_user = tg_argv[1] then return null; end if;
  perform pg_advisory_xact_lock_shared(1835623282, hashtext(tg_argv[0]));
  f := pg_sequence_last_value(format('migrate.%I', 'fence_' || tg_argv[0])::regclass);
  if f = 0 then return null; end if;
  if f < 9223372036854775807 and extract(epoch from clock_timestamp()) * 1000000 >= f then
    -- the fence is over: the authority row decides; a snapshot older than a switch fails with 40001
    if current_setting('transaction_isolation') = 'read committed' then
      select state into s from migrate.authority where service = tg_argv[0];
    else
      select state into s from migrate.authority where service = tg_argv[0] for share;
    end if;
    if s is distinct from 'service' then return null; end if;
  end if;
  raise exception 'migrate: % is moving, its tables are read-only here', tg_argv[0] using errcode = '25006';
end $$;

-- Closes the gate until now + hold and writes the token of the fence into the log. Returns the deadline.
create function migrate.fence(svc text, r bigint, hold interval, p text) returns bigint language plpgsql as $$
declare f bigint; n bigint;
begin
  perform migrate.lock_gate(svc);
  f := migrate.fence_value(svc);
  n := migrate.now_us();
  if f <> 0 and n < f then raise exception 'FENCED_BY_OTHER' using errcode = '55006'; end if;
  if (select state from migrate.authority where service = svc) <> 'monolith' then
    raise exception 'NOT_MONOLITH' using errcode = '55000';
  end if;
  f := n + (extract(epoch from hold) * 1000000)::bigint;
  update migrate.fence set run = r, deadline = f, plan = p where service = svc and run <= r;
  if not found then raise exception 'STALE_RUN' using errcode = '55000'; end if;
  perform pg_logical_emit_message(true, 'migrate.token', svc || ' ' || r || ' ' || f);
  perform setval(format('migrate.%I', 'fence_' || svc)::regclass, f, true);
  return f;
end $$;

-- Opens the gate again, also after the deadline.
create function migrate.lift(svc text, r bigint) returns bool language plpgsql as $$
begin
  perform migrate.lock_gate(svc);
  update migrate.fence set run = r, deadline = 0
   where service = svc and run <= r
     and exists (select from migrate.authority where service = svc and state = 'monolith');
  if not found then return false; end if;
  perform setval(format('migrate.%I', 'fence_' || svc)::regclass, 0, true);
  return true;
end $$;

-- The point of no return of a cutover. Returns the new epoch.
create function migrate.switch(svc text, r bigint, f bigint, e bigint) returns bigint language plpgsql as $$
declare x bigint;
begin
  perform migrate.lock_gate(svc);
  update migrate.authority a set state = 'service', epoch = a.epoch + 1
   where a.service = svc and a.state = 'monolith' and a.epoch = e
     and migrate.fence_value(svc) = f
     and migrate.now_us() + 250000 < f
     and exists (select from migrate.fence q where q.service = svc and q.run = r and q.deadline = f)
  returning a.epoch into x;
  if x is null then raise exception 'SWITCH_REFUSED' using errcode = '55000'; end if;
  return x;
end $$;

-- After a switch: the fence's deadline no longer matters.
create function migrate.shut(svc text) returns void language plpgsql as $$
begin
  perform migrate.lock_gate(svc);
  if (select state from migrate.authority where service = svc) = 'service' then
    perform setval(format('migrate.%I', 'fence_' || svc)::regclass, 9223372036854775807, true);
  end if;
end $$;

-- The point of no return of a rollback: authority and gate go back to the monolith in one call; `lift` then makes the
-- gate quick again. Returns the new epoch.
create function migrate.switch_back(svc text, r bigint, e bigint) returns bigint language plpgsql as $$
declare x bigint;
begin
  perform migrate.lock_gate(svc);
  update migrate.fence set run = r, deadline = 0, plan = null where service = svc and run <= r;
  if not found then raise exception 'STALE_RUN' using errcode = '55000'; end if;
  update migrate.authority a set state = 'monolith', epoch = a.epoch + 1
   where a.service = svc and a.state = 'service' and a.epoch = e
  returning a.epoch into x;
  if x is null then raise exception 'SWITCH_REFUSED' using errcode = '55000'; end if;
  -- in this transaction, so that the forward pipeline starts exactly when there is something to carry
  perform pg_logical_emit_message(true, 'migrate.start', svc || ' forward ' || r || ' ' || x);
  -- setval is not undone by a crash before the commit: a fence long over leaves the word to the authority row
  perform setval(format('migrate.%I', 'fence_' || svc)::regclass, 1, true);
  return x;
end $$;

-- A rollback that was given up takes a new epoch before it may reopen the service's gate. The reverse pipeline, whose
-- checkpoint is in this database, goes on under the new epoch in the same transaction.
create function migrate.renew(svc text, r bigint, e bigint, pipe text) returns bigint language plpgsql as $$
declare x bigint;
begin
  perform migrate.lock_gate(svc);
  update migrate.fence set run = r where service = svc and run <= r;
  if not found then raise exception 'STALE_RUN' using errcode = '55000'; end if;
  update migrate.authority a set epoch = a.epoch + 1
   where a.service = svc and a.state = 'service' and a.epoch = e
  returning a.epoch into x;
  if x is null then raise exception 'SWITCH_REFUSED' using errcode = '55000'; end if;
  -- a sealed one is claimed by what the authority row says: a claim that has read the old epoch must fail
  update migrate.checkpoint set authority_epoch = x, epoch = epoch + (state = 'sealed')::int
   where pipeline = pipe and state <> 'discard';
  return x;
end $$;
