-- By what a pipeline knows its source again; null: it was made by an earlier version, the next start notes what it finds.
alter table migrate.checkpoint
  add column source_timeline int,
  add column publication text;

-- The tables of this pipeline are to be copied again, whatever its checkpoint says. Goes with the copy's transaction.
create table migrate.resnapshot (
  pipeline text primary key,
  asked_by text not null,
  at timestamptz not null default clock_timestamp()
);
