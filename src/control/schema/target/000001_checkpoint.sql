-- How far a pipeline is durable in this database; moves in the same transaction as the rows it speaks of.
create table migrate.checkpoint (
  pipeline text primary key,
  -- the worker's claim; a write under an older one changes nothing
  epoch bigint not null,
  -- apply: rows are written; discard: rows are dropped until a start token; sealed: nobody may go on without
  -- looking at the authority row
  state text not null check (state in ('apply', 'discard', 'sealed')),
  commit_lsn pg_lsn not null,
  ordinal int not null default 0,
  -- dual-write: changes wait for the grace, then verify and repair
  hold boolean not null default false,
  grace_ms int not null default 0,
  -- the last token of a cutover or rollback that went by
  token text,
  -- reverse only: the epoch of the authority row under which rows may be applied
  authority_epoch bigint,
  -- while set, the keys of all changes are noted in migrate.touched for the run with this fencing token
  tracking bigint,
  -- the highest fencing token of a run that has changed this row
  run bigint not null default 0,
  source_system text not null,
  updated_at timestamptz not null default clock_timestamp()
);

create table migrate.touched (
  pipeline text not null,
  tracking bigint not null,
  relation text not null,
  key jsonb not null,
  primary key (pipeline, tracking, relation, key)
);
