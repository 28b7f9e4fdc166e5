-- pgbench's own tables at scale 1. History gets a key: without one no row of it could be found again.
create table pgbench_branches (bid int primary key, bbalance int, filler char(88));
create table pgbench_tellers (tid int primary key, bid int, tbalance int, filler char(84));
create table pgbench_accounts (aid int primary key, bid int, abalance int, filler char(84));
create table pgbench_history (id bigint generated always as identity primary key, tid int, bid int, aid int, delta int,
  mtime timestamp, filler char(22));
create table marks (id int primary key, at timestamptz not null default clock_timestamp());
