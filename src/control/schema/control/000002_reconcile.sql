-- What reconcile has verified, and the differences that it has found.

create table migrate.reconcile_run (
  id bigint generated always as identity primary key,
  service text not null,
  fencing bigint not null,
  -- the authority under which it compared
  side text not null,
  epoch bigint not null,
  strict boolean not null,
  outcome text check (outcome in ('verified', 'drift', 'partial', 'failed')),
  reason text,
  ranges int not null default 0,
  row_count bigint not null default 0,
  started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz
);
create index reconcile_run_service on migrate.reconcile_run (service, id);

create table migrate.reconcile_table (
  service text not null,
  relation text not null,
  -- key, order of the key and columns: the ranges and what was verified hold for these only
  signature text not null,
  -- the present pass; a range is through with it when it was concluded after this
  pass_started_at timestamptz,
  pass_epoch bigint,
  pass_strict boolean,
  -- every commit of the authority before this position was found in the copy, range by range
  verified_through pg_lsn,
  verified_at timestamptz,
  verified_epoch bigint,
  primary key (service, relation)
);

create table migrate.reconcile_range (
  service text not null,
  relation text not null,
  number int not null,
  -- first key and the first key after it, as text; null = open
  lo jsonb,
  hi jsonb,
  state text not null default 'open' check (state in ('open', 'verified', 'drift', 'unsettled', 'failed')),
  row_count bigint,
  looked_at timestamptz,
  verified_through pg_lsn,
  verified_at timestamptz,
  verified_epoch bigint,
  primary key (service, relation, number),
  foreign key (service, relation) references migrate.reconcile_table
);

create table migrate.drift (
  service text not null,
  relation text not null,
  key jsonb not null,
  -- missing: only the authority has the row; extra: only the copy has it
  kind text not null check (kind in ('missing', 'extra', 'different')),
  columns text[] not null,
  first_seen timestamptz not null default clock_timestamp(),
  last_seen timestamptz not null default clock_timestamp(),
  cleared_at timestamptz,
  primary key (service, relation, key)
);
