-- The worker reads the service's log on the way back: it has to know which transactions are second legs.
create or replace function migrate.leg_end(k uuid, s int, a jsonb) returns void language sql security definer
set search_path = pg_catalog, pg_temp as $$
  with ended as (update migrate.seen set status = s, answer = a where key = k returning service)
  select pg_logical_emit_message(true, 'migrate.leg', service) from ended
$$;
