-- Keys that the sync has written while a second leg that nobody can revoke was under way: looked at again when the leg
-- can no longer run.
create table migrate.resync (
  pipeline text not null,
  relation text not null,
  key jsonb not null,
  noted_at timestamptz not null default clock_timestamp(),
  primary key (pipeline, relation, key)
);
