-- Rows that migrate has removed from this database in dual-write because the monolith lacks them; kept for 30 days.
create table migrate.undo (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  service text not null,
  relation text not null,
  -- extra: made by a second leg, the monolith has no such row; service_extra: it had a unique value that the monolith
  -- has given to another row
  reason text not null check (reason in ('extra', 'service_extra')),
  row jsonb not null
);
create index undo_at on migrate.undo (at);
