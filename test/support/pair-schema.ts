/** The tables of each service of a pair, with the order of their rows. */
export const PAIR_TABLES: Readonly<Record<string, string>> = {
  counters: 'writer',
  ledger: 'writer, seq',
  items: 'id',
  scratch: 'id',
  loaded: 'id',
  bulk: 'id',
  interleaved: 'n',
}

/** Each writer of the load has items of its own: writers never wait for each other's rows. */
export const ITEMS = 40
export const WRITERS = 4
/** keys of a writer's rows lie between this number times the writer and times its successor */
export const KEYS = 1_000_000_000

export function pairRoles(database: string, password: string): string {
  return `
    create role pair_owner nologin;
    create role pair_app login password '${password}' in role pair_owner;
    create role migrate_apply login replication password '${password}' in role pair_owner, pg_monitor, pg_signal_backend;
    grant set on parameter session_replication_role to migrate_apply;
    grant create on database ${database} to migrate_apply;`
}

export function pairSchema(name: string, rows: boolean): string {
  const seed = `
    insert into counters select w, 0 from generate_series(1, ${WRITERS}) w;
    insert into items select w * ${KEYS}::bigint + i, w || '-' || i, 0, repeat(md5(i::text), 100)
      from generate_series(1, ${WRITERS}) w, generate_series(1, ${ITEMS}) i;`
  return `
    create schema ${name} authorization pair_owner;
    set role pair_owner; set search_path = ${name};
    create table counters (writer int primary key, n bigint not null);
    create table ledger (writer int, seq bigint, note text, primary key (writer, seq));
    create table items (id bigint primary key, code text not null unique, n int not null, body text);
    alter table items alter body set storage external;
    create table scratch (id int primary key, v text);
    create table loaded (id bigint generated always as identity primary key, writer int, amount numeric, tags text[]);
    create table bulk (id bigint primary key, body text);
    create table interleaved (n int primary key, body text);
    ${rows ? seed : ''}
    reset role; reset search_path;`
}
