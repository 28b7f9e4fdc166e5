-- The state that all processes of migrate share. By default in the monolith's database, else in control.url.

create sequence migrate.policy_version;

create table migrate.service (
  service text primary key,
  stage text not null default 'off',
  percent numeric(6, 3) not null default 0 check (percent between 0 and 100),
  -- the sinks have acknowledged the hold, so routers may send second legs
  legs boolean not null default false,
  -- while set and not over, routers hold new writes of this service for the cutover with this fencing token
  hold_run bigint,
  hold_until timestamptz,
  -- the highest fencing token of a run that has changed this row
  run bigint not null default 0,
  version bigint not null default nextval('migrate.policy_version'),
  updated_at timestamptz not null default now()
);

create table migrate.audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  who text not null,
  service text not null,
  action text not null,
  before jsonb,
  after jsonb,
  reason text
);

create table migrate.lease (
  name text primary key,
  epoch bigint not null,
  holder text not null,
  renewed_at timestamptz not null,
  expires_at timestamptz not null
);

create table migrate.router (
  instance text primary key,
  version bigint not null,
  services jsonb not null,
  seen_at timestamptz not null,
  expires_at timestamptz not null
);

-- second legs: written before the monolith is called, settled afterwards
create table migrate.intent (
  key uuid primary key,
  service text not null,
  epoch bigint not null,
  method text not null,
  path text not null,
  instance text not null,
  state text not null default 'open' check (state in ('open', 'answered', 'skipped', 'revoked')),
  status int,
  verdict text,
  opened_at timestamptz not null default clock_timestamp(),
  settled_at timestamptz
);
create index intent_open on migrate.intent (service, opened_at) where state = 'open';
create index intent_opened on migrate.intent (opened_at);

-- where the sync workers stand
create table migrate.progress (
  service text not null,
  direction text not null check (direction in ('forward', 'reverse')),
  worker text not null,
  epoch bigint not null,
  phase text not null,
  state text not null,
  applied pg_lsn,
  source pg_lsn,
  hold boolean not null default false,
  counters jsonb not null default '{}',
  seen_at timestamptz not null,
  primary key (service, direction)
);

-- cutovers and rollbacks with their journalled steps
create table migrate.run (
  id bigint generated always as identity primary key,
  service text not null,
  kind text not null check (kind in ('cutover', 'rollback')),
  fencing bigint not null,
  epoch bigint not null,
  state text not null default 'running' check (state in ('running', 'done', 'aborted')),
  reason text,
  started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz
);
create unique index run_open on migrate.run (service) where state = 'running';

create table migrate.step (
  run bigint not null references migrate.run,
  name text not null,
  started_at timestamptz not null default clock_timestamp(),
  done_at timestamptz,
  data jsonb not null default '{}',
  primary key (run, name)
);
