import type { Finding, PreflightOptions } from '../../src/stores/postgres/preflight.ts'

/** Something wrong in the databases of the shop and of the users service, and the one finding that it leads to. */
interface Defect {
  readonly check: string
  /** what tells it from other findings of the same check */
  readonly says: string
  readonly severity?: Finding['severity']
  readonly monolith?: string
  readonly service?: string
  readonly undo: { readonly monolith?: string; readonly service?: string }
  readonly tables?: readonly string[]
  readonly options?: Partial<PreflightOptions>
  /** the SQL of the finding, run as the superuser, removes it */
  readonly mends?: boolean
}

const LOG = `create function log_it() returns trigger language plpgsql as $$ begin insert into audit_log values (1); return new; end $$`
export const DEFECTS: readonly Defect[] = [
  {
    check: 'abandoned-slots',
    says: 'old_consumer',
    severity: 'warning',
    monolith: `select pg_create_physical_replication_slot('old_consumer', true)`,
    undo: { monolith: `select pg_drop_replication_slot('old_consumer')` },
  },
  { check: 'apply-role', says: 'monolith.role is the same', undo: {}, options: { monolithRole: 'migrate_apply' } },
  {
    check: 'replication',
    says: 'may not replicate',
    monolith: 'alter role migrate_apply noreplication',
    undo: {},
    mends: true,
  },
  {
    check: 'session-replication-role',
    says: 'may not set',
    service: 'revoke set on parameter session_replication_role from migrate_apply',
    undo: {},
    mends: true,
  },
  {
    check: 'privileges',
    says: 'no CREATE',
    monolith: 'revoke create on database shop from migrate_apply',
    undo: {},
    mends: true,
  },
  {
    check: 'privileges',
    says: 'no TEMPORARY',
    service: 'revoke temporary on database users from public',
    undo: { service: 'grant temporary on database users to public' },
    mends: true,
  },
  {
    check: 'privileges',
    says: 'no SELECT',
    service: 'revoke select on users from users_owner',
    undo: { service: 'grant select on users to users_owner' },
    mends: true,
  },
  {
    check: 'privileges',
    says: 'no member of pg_monitor, pg_signal_backend',
    severity: 'warning',
    service: 'revoke pg_monitor, pg_signal_backend from migrate_apply',
    undo: {},
    mends: true,
  },
  { check: 'table', says: 'no table nope', undo: {}, tables: ['nope'] },
  {
    check: 'replica-identity',
    says: 'no primary key, no unique index',
    monolith: 'create table heap (id int); alter table heap owner to shop_owner',
    service: 'create table heap (id int); alter table heap owner to users_owner',
    undo: { monolith: 'drop table heap', service: 'drop table heap' },
    tables: ['heap'],
  },
  {
    check: 'replica-identity',
    says: 'unique index heap_id',
    monolith:
      'create table heap (id int not null); create unique index heap_id on heap (id); alter table heap owner to shop_owner',
    service: 'create table heap (id int primary key); alter table heap owner to users_owner',
    undo: { monolith: 'drop table heap', service: 'drop table heap' },
    tables: ['heap'],
    mends: true,
  },
  {
    check: 'replica-identity',
    says: '(nothing)',
    monolith: 'alter table user_preferences replica identity nothing',
    undo: {},
    mends: true,
  },
  {
    check: 'replica-identity',
    says: 'the replica identity of parts_1',
    monolith: `create table parts (id int primary key) partition by range (id);
      create table parts_1 partition of parts for values from (0) to (9); alter table parts_1 replica identity full;
      alter table parts owner to shop_owner; alter table parts_1 owner to shop_owner`,
    service: 'create table parts (id int primary key); alter table parts owner to users_owner',
    undo: { monolith: 'drop table parts', service: 'drop table parts' },
    tables: ['parts'],
    mends: true,
  },
  {
    check: 'replica-identity',
    says: 'is deferrable',
    monolith: 'create table heap (id int primary key deferrable); alter table heap owner to shop_owner',
    service: 'create table heap (id int primary key); alter table heap owner to users_owner',
    undo: { monolith: 'drop table heap', service: 'drop table heap' },
    tables: ['heap'],
  },
  {
    check: 'ownership',
    says: 'owner someone',
    monolith: `create role someone; alter table user_preferences owner to someone; grant select on user_preferences to migrate_apply`,
    undo: {
      monolith: `revoke select on user_preferences from migrate_apply; alter table user_preferences owner to shop_owner; drop role someone`,
    },
    mends: true,
  },
  {
    check: 'ownership',
    says: 'a superuser',
    service: `alter table user_preferences owner to postgres; grant select on user_preferences to migrate_apply`,
    undo: {
      service: `revoke select on user_preferences from migrate_apply; alter table user_preferences owner to users_owner`,
    },
  },
  {
    check: 'row-security',
    says: 'applies to migrate_apply',
    monolith: 'alter table users enable row level security, force row level security',
    undo: {
      monolith:
        'alter table users disable row level security, no force row level security; alter role migrate_apply nobypassrls',
    },
    mends: true,
  },
  {
    check: 'unlogged',
    says: 'user_preferences',
    monolith: 'alter table user_preferences set unlogged',
    undo: { monolith: 'alter table user_preferences set logged' },
  },
  {
    check: 'partitions',
    says: 'is a partition of parts',
    monolith: `create table parts (id int primary key) partition by range (id);
      create table parts_1 partition of parts for values from (0) to (9);
      alter table parts owner to shop_owner; alter table parts_1 owner to shop_owner`,
    service: 'create table parts_1 (id int primary key); alter table parts_1 owner to users_owner',
    undo: { monolith: 'drop table parts', service: 'drop table parts_1' },
    tables: ['parts_1'],
  },
  {
    check: 'partitions',
    says: '1 children',
    monolith: 'create table old_preferences () inherits (user_preferences)',
    undo: { monolith: 'drop table old_preferences' },
  },
  {
    check: 'foreign-keys',
    says: 'orders_user_id_fkey',
    severity: 'warning',
    monolith: 'alter table orders add constraint orders_user_id_fkey foreign key (user_id) references users',
    undo: { monolith: 'alter table orders drop constraint orders_user_id_fkey' },
  },
  {
    check: 'triggers',
    says: 'trigger users_log on users writes to audit_log, which stays',
    severity: 'warning',
    monolith: `create table audit_log (n int); ${LOG};
      create trigger users_log after update on users for each row execute function log_it()`,
    undo: { monolith: 'drop table audit_log; drop function log_it cascade' },
  },
  {
    check: 'triggers',
    says: 'trigger orders_points on orders writes to users, which moves',
    severity: 'warning',
    monolith: `create function points() returns trigger language plpgsql as
        $$ begin update public.users set loyalty_points = 1; return new; end $$;
      create trigger orders_points after insert on orders for each row execute function points()`,
    undo: { monolith: 'drop function points cascade' },
  },
  {
    check: 'triggers',
    says: 'cannot be told',
    severity: 'warning',
    monolith: `create function dynamic() returns trigger language plpgsql as $$ begin execute tg_argv[0]; return new; end $$;
      create trigger users_dynamic after insert on users for each row execute function dynamic('select 1')`,
    undo: { monolith: 'drop function dynamic cascade' },
  },
  {
    check: 'triggers',
    says: 'ENABLE ALWAYS',
    severity: 'warning',
    monolith: 'alter table users enable always trigger users_touch',
    undo: { monolith: 'alter table users enable trigger users_touch' },
  },
  {
    check: 'shared-sequence',
    says: 'guests.id, which stays',
    severity: 'warning',
    monolith: `create table guests (id bigint primary key default nextval('users_id_seq'))`,
    undo: { monolith: 'drop table guests' },
  },
  {
    check: 'unowned-sequence',
    says: 'loose',
    severity: 'warning',
    monolith: `create sequence loose; alter sequence loose owner to shop_owner;
      alter table users add column n bigint default nextval('loose')`,
    service: 'alter table users add column n bigint',
    undo: {
      monolith: 'alter table users drop column n; drop sequence if exists loose',
      service: 'alter table users drop column n',
    },
    mends: true,
  },
  {
    check: 'generated-columns',
    says: 'in the monolith only',
    monolith: 'alter table users add column g int generated always as (loyalty_points * 2) stored',
    service: 'alter table users add column g int',
    undo: { monolith: 'alter table users drop column g', service: 'alter table users drop column g' },
  },
  {
    check: 'generated-columns',
    says: 'in users only',
    monolith: 'alter table users add column g int',
    service: 'alter table users add column g int generated always as (loyalty_points * 2) stored',
    undo: { monolith: 'alter table users drop column g', service: 'alter table users drop column g' },
    mends: true,
  },
  {
    check: 'target',
    says: 'column bio of public.users is missing',
    service: 'alter table users drop column bio',
    undo: {},
    mends: true,
  },
  {
    check: 'target',
    says: 'is not text',
    service: 'alter table users alter column bio type varchar(10)',
    undo: {},
    mends: true,
  },
  {
    check: 'target',
    says: 'users has no table public.parts',
    monolith: 'create table parts (id int primary key); alter table parts owner to shop_owner',
    undo: { monolith: 'drop table parts' },
    tables: ['parts'],
  },
]
