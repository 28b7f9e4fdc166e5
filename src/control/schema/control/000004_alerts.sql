-- Which alerts have been raised, so that of several workers one tells, and tells once; and since when a lease is held.

create table migrate.alert (
  name text not null,
  service text not null,
  summary text not null,
  next text not null,
  raised_at timestamptz not null,
  -- somebody has taken it upon himself to tell
  tried_at timestamptz not null,
  -- a target has taken it; one that nobody has taken is told again when it is raised again
  told_at timestamptz,
  resolved_at timestamptz,
  primary key (name, service)
);

alter table migrate.lease add column taken_at timestamptz not null default clock_timestamp();
