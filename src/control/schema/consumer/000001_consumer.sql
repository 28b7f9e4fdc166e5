-- Consumers of Kafka. What a handler writes, the id of its message and the offset are one transaction in this database.

-- How far a consumer is in a partition. Whoever reads the partition has claimed it: its transactions carry the epoch and
-- change nothing once somebody else has claimed. Kafka's own generations start anew when a group expires, so not those.
create table eventing.consumer_offset (
  consumer text not null,
  topic text not null,
  partition int not null,
  epoch bigint not null,
  -- null: nothing was handled yet
  next_offset bigint,
  moved_at timestamptz not null default clock_timestamp(),
  primary key (consumer, topic, partition)
);

-- Ids of the messages that were handled (headers "id"), so that one that comes again does nothing. Messages without an
-- id need no row: they are known by their offset.
create table eventing.inbox (
  consumer text not null,
  message_id text not null,
  received_at timestamptz not null default clock_timestamp(),
  primary key (consumer, message_id)
);
-- Rows are as old as their place in the table, so a block range index finds the old ones, and costs an insert nothing.
create index inbox_age on eventing.inbox using brin (received_at) with (pages_per_range = 32);

-- Keys whose records wait here: the first one failed, and the later ones wait behind it.
create table eventing.parked_key (
  consumer text not null,
  topic text not null,
  -- the key of the records; for one without a key its partition and offset, so it waits alone
  order_key bytea not null,
  -- blocked: behind a dead letter, until somebody settles it
  state text not null check (state in ('retrying', 'blocked')),
  attempts int not null default 0,
  due_at timestamptz not null,
  error text not null,
  parked_at timestamptz not null default clock_timestamp(),
  primary key (consumer, topic, order_key)
);
create index parked_key_due on eventing.parked_key (consumer, due_at) where state = 'retrying';

create table eventing.dead_letter (
  id bigint generated always as identity primary key,
  consumer text not null,
  topic text not null,
  partition int not null,
  record_offset bigint not null,
  order_key bytea not null,
  -- milliseconds since 1970
  record_time bigint not null,
  -- the bytes as they came; headers: name to a list of values in base64
  key bytea,
  value bytea,
  headers jsonb not null,
  message_id text,
  type text,
  error text not null,
  message text not null,
  stack text not null,
  attempts int not null,
  state text not null default 'open' check (state in ('open', 'retrying', 'resolved', 'discarded')),
  created_at timestamptz not null default clock_timestamp(),
  settled_by text,
  settled_at timestamptz,
  unique (consumer, topic, partition, record_offset)
);
create index dead_letter_open on eventing.dead_letter (consumer, topic, order_key) where state in ('open', 'retrying');

create table eventing.parked_record (
  consumer text not null,
  topic text not null,
  order_key bytea not null,
  partition int not null,
  record_offset bigint not null,
  record_time bigint not null,
  key bytea,
  value bytea,
  headers jsonb not null,
  -- it was a dead letter, and is tried once more
  letter bigint references eventing.dead_letter,
  primary key (consumer, topic, order_key, partition, record_offset),
  foreign key (consumer, topic, order_key) references eventing.parked_key
);
-- they come first
create index parked_record_letter on eventing.parked_record (consumer, topic, order_key, letter) where letter is not null;
