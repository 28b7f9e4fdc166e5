-- What a person has asked of a sync, slots that were given up to save a disk, and how far behind a worker is in time.

create table migrate.sync_control (
  service text primary key,
  -- while set, its workers apply nothing
  paused_at timestamptz,
  paused_by text,
  pause_reason text,
  -- bytes a second; null: as configured, 0: no limit
  rate bigint check (rate >= 0),
  -- statements at work in the monolith's database; null: as configured, 0: no limit
  sessions int check (sessions >= 0)
);

-- A note that explains a slot that is not there: without its slot gone it says nothing.
create table migrate.detached (
  service text not null,
  direction text not null check (direction in ('forward', 'reverse')),
  slot text not null,
  -- what the target had confirmed
  position pg_lsn not null,
  retained bigint not null,
  bytes_limit bigint not null,
  at timestamptz not null default clock_timestamp(),
  primary key (service, direction)
);

alter table migrate.progress
  add column lag_seconds float8,
  add column throttled text,
  add column wal_end pg_lsn,
  add column wal_rate float8;
