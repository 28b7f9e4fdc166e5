// What both databases say: rows, who may write, what a move has left behind.
import type pg from 'pg'
import { expect } from 'vitest'
import { DIRECT, type Ledger, ROUTED, SHARED, write } from './writers.ts'

export interface Apps {
  readonly monolith: pg.Client
  readonly users: pg.Client
}

export interface Sides extends Apps {
  /** the control database, wherever it is */
  readonly control: pg.Client
}

/** Looks every 25 ms until it is so; fails with what it saw last. */
export async function eventually<T>(
  look: () => Promise<T>,
  is: (seen: T) => boolean,
  milliseconds = 15_000,
): Promise<T> {
  const until = performance.now() + milliseconds
  for (;;) {
    const seen = await look()
    if (is(seen)) return seen
    if (performance.now() > until) throw new Error(`not within ${milliseconds} ms; last seen: ${JSON.stringify(seen)}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

const ROWS = `select (select md5(coalesce(string_agg(u::text, '' order by id), '')) from users u) || ' ' ||
  (select md5(coalesce(string_agg(p::text, '' order by user_id, key), '')) from user_preferences p) as hash`

async function hashes({ monolith, users }: Apps): Promise<[string, string]> {
  const [left, right] = await Promise.all([monolith, users].map((side) => side.query(ROWS)))
  return [left?.rows[0].hash, right?.rows[0].hash]
}

/** Waits until every row of both sides is equal; nobody must be writing. */
export async function expectEqual(sides: Apps, milliseconds = 15_000): Promise<void> {
  try {
    await eventually(
      () => hashes(sides),
      ([left, right]) => left === right,
      milliseconds,
    )
  } catch (error) {
    throw new Error(`the sides differ: ${await differences(sides)}`, { cause: error })
  }
}

async function differences({ monolith, users }: Apps): Promise<string> {
  const text = 'select id::int, loyalty_points, updated_at, email from users order by id'
  const [left, right] = await Promise.all([monolith.query(text), users.query(text)])
  const rights = new Map(right.rows.map((row) => [row.id, JSON.stringify(row)]))
  const lefts = new Map(left.rows.map((row) => [row.id, JSON.stringify(row)]))
  return [...new Set([...lefts.keys(), ...rights.keys()])]
    .filter((id) => lefts.get(id) !== rights.get(id))
    .slice(0, 5)
    .map((id) => `${lefts.get(id)} <> ${rights.get(id)}`)
    .join('; ')
}

export async function pointsOf(side: pg.Client): Promise<Map<number, number>> {
  const { rows } = await side.query('select id::int as id, loyalty_points as points from users where id <= 50')
  return new Map(rows.map((row) => [row.id, row.points]))
}

/**
 * Compares one side with the ledger: `lost` acknowledged writes and `doubled` ones. Writes without an answer may have
 * been carried out; with `restarted` also those answered 5xx.
 */
export async function judge(side: pg.Client, before: ReadonlyMap<number, number>, ledger: Ledger, restarted: boolean) {
  const now = await pointsOf(side)
  let lost = 0
  let doubled = 0
  for (const user of [...ROUTED, ...DIRECT, ...SHARED]) {
    const { acknowledged, unknown, failed } = ledger.of(user)
    const added = (now.get(user) ?? 0) - (before.get(user) ?? 0)
    lost += Math.max(0, acknowledged - added)
    doubled += Math.max(0, added - acknowledged - unknown - (restarted ? failed : 0))
  }
  const { rows } = await side.query('select email from users where email = any($1)', [[...ledger.created]])
  lost += ledger.created.size - rows.length
  for (const [user, { settled, maybe: others }] of ledger.languages) {
    const found = await side.query(
      `select value #>> '{}' as value from user_preferences where user_id = $1 and key = 'language'`,
      [user],
    )
    const value = found.rows[0]?.value ?? ''
    if (settled !== '' && value !== settled && !others.includes(value)) lost += 1
  }
  return { lost, doubled }
}

/** The gates let exactly one side's own role write, and it is the one that the stage names. */
export async function expectOneWriter(apps: Apps, authority: 'monolith' | 'service'): Promise<void> {
  const probe = 'update users set name = name where false'
  const [monolith, service] = await Promise.all([write(apps.monolith, probe), write(apps.users, probe)])
  expect({ monolith, service }).toEqual(
    authority === 'monolith' ? { monolith: null, service: '25006' } : { monolith: '25006', service: null },
  )
}

export interface Standing {
  readonly stage: string
  readonly side: 'monolith' | 'service'
  readonly epoch: number
}

export async function standing({ monolith, control }: Sides): Promise<Standing> {
  const [stage, authority] = await Promise.all([
    control.query(`select stage from migrate.service where service = 'users'`),
    monolith.query(`select state as side, epoch::int as epoch from migrate.authority where service = 'users'`),
  ])
  return { ...stage.rows[0], ...authority.rows[0] }
}

/** Everything that a move changes, for the proof that something has changed nothing. */
export async function controlState({ monolith, users, control }: Sides): Promise<unknown> {
  const [one, two, three] = await Promise.all([
    monolith.query(`select json_build_object(
      'authority', (select json_agg(a) from migrate.authority a), 'fence', (select json_agg(f) from migrate.fence f),
      'value', migrate.fence_value('users'),
      'reverse', (select json_agg(to_jsonb(c) - 'updated_at' - 'commit_lsn') from migrate.checkpoint c),
      'sequence', pg_sequence_last_value(pg_get_serial_sequence('users', 'id')::regclass)) as state`),
    users.query(`select json_build_object('gate', (select json_agg(g) from migrate.gate g),
      'sequence', pg_sequence_last_value(pg_get_serial_sequence('users', 'id')::regclass),
      'forward', (select json_agg(to_jsonb(c) - 'updated_at' - 'commit_lsn') from migrate.checkpoint c)) as state`),
    control.query(`select json_build_object('service', (select json_agg(s) from migrate.service s),
      'runs', (select json_agg(r order by id) from migrate.run r), 'steps', (select json_agg(s) from migrate.step s),
      'audit', (select count(*) from migrate.audit)) as state`),
  ])
  return { monolith: one.rows[0].state, users: two.rows[0].state, control: three.rows[0].state }
}

/**
 * No hold, no running run, nothing tracked; both pipelines run in the states that the stage wants. (With the authority at
 * the monolith reverse may still be in `apply` under an epoch that is over: the first row makes it discard.)
 */
export async function expectTidy(sides: Sides): Promise<void> {
  const look = async () => {
    const now = await standing(sides)
    const control = await sides.control.query(
      `select (select count(*)::int from migrate.run where state = 'running') as runs,
         (select count(*)::int from migrate.service where hold_run is not null) as holds,
         (select json_object_agg(direction, phase) from migrate.progress where seen_at > clock_timestamp() - interval '3 s') as phases`,
    )
    const { rows } = await sides.monolith.query(
      `select (select count(*)::int from migrate.touched) as touched,
         (select json_build_object('state', state, 'tracking', tracking,
            'current', authority_epoch = (select epoch from migrate.authority)) from migrate.checkpoint) as reverse`,
    )
    const forward = await sides.users.query(
      `select state, tracking, hold, grace_ms as grace, (select count(*)::int from migrate.touched) as touched from migrate.checkpoint`,
    )
    return { now, ...control.rows[0], ...rows[0], forward: forward.rows[0] }
  }
  const live = (seen: Awaited<ReturnType<typeof look>>): boolean => seen.now.side === 'service'
  const tidy = (seen: Awaited<ReturnType<typeof look>>): boolean =>
    [seen.runs, seen.holds, seen.touched, seen.forward.touched].every((n) => n === 0) &&
    seen.phases?.forward === 'streaming' &&
    // the way back is not there before `route`
    (seen.now.stage === 'sync') === (seen.reverse === null) &&
    (seen.reverse === null || seen.phases?.reverse === 'streaming') &&
    (seen.reverse?.tracking ?? null) === null &&
    seen.forward.tracking === null &&
    seen.forward.grace === (seen.forward.hold === true ? 1_000 : 0) &&
    (seen.now.stage !== 'dual-write' || seen.forward.hold === true) &&
    seen.forward.state === (live(seen) ? 'discard' : 'apply') &&
    (live(seen) ? seen.reverse?.state === 'apply' && seen.reverse.current === true : seen.reverse?.current !== true)
  await eventually(look, tidy, 8_000)
}
