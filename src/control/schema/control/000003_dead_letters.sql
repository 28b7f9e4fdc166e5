-- What becomes of second legs that were not answered, and of those whose answer is wrong.

alter table migrate.intent
  drop constraint intent_state_check,
  -- revoked: the sink has taken the key, the leg can change nothing any more
  -- superseded: revoked, and the sync has carried what the monolith had committed when it answered
  -- unsettled: nobody can revoke it (no middleware), so it may still run; settled: it cannot any more, and its keys
  -- were made equal to the monolith's
  add constraint intent_state_check check
    (state in ('open', 'answered', 'skipped', 'revoked', 'superseded', 'unsettled', 'settled')),
  add column attempts int not null default 0,
  -- class of the last failure
  add column error text,
  -- the monolith's log after its answer: an upper bound of what the request has committed
  add column source_lsn pg_lsn,
  -- the router sends nothing more
  add column given_up_at timestamptz;
create index intent_unfinished on migrate.intent (service, opened_at) where state in ('revoked', 'unsettled');

create table migrate.dead_letter (
  id bigint generated always as identity primary key,
  kind text not null check (kind = 'dual-write'),
  -- the leg's Idempotency-Key: one letter a leg, however often it is written
  key uuid not null unique,
  service text not null,
  method text not null,
  path text not null,
  -- the route of the configuration; while one with ID_NOT_KEPT is open, the route has no legs
  route text not null,
  -- what the leg was ordered by
  entity text,
  epoch bigint not null,
  -- an error of the catalogue
  code text not null,
  -- class of the last failure
  error text,
  monolith_status int not null,
  service_status int,
  attempts int not null,
  source_lsn pg_lsn,
  -- the beginning of the request's body, as said by body_form; later forms encrypt it
  body bytea,
  body_bytes int not null default 0,
  body_form text not null default 'plain',
  created_at timestamptz not null default clock_timestamp(),
  state text not null default 'open' check (state in ('open', 'resolved', 'discarded')),
  resolved_by text,
  resolved_at timestamptz
);
create index dead_letter_open on migrate.dead_letter (service, id) where state = 'open';
