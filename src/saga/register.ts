import { MigrateError } from '../errors.ts'
import type { ConnectionPool } from '../model/service-database.ts'
import { driverFacts } from '../model/transient.ts'
import { type AnySaga, shapeOf } from './definition.ts'

/**
 * Notes the definitions of this process. Throws SAGA_DEFINITION_CHANGED when a version has other steps than it had when
 * it was noted first, SAGA_DEFINITION_INVALID when one version is here twice, EVENTING_MISSING.
 */
export async function registerDefinitions(pool: ConnectionPool, sagas: readonly AnySaga[]): Promise<void> {
  const seen = new Set<string>()
  for (const { name, version } of sagas) {
    const reason = `version ${version} is there twice`
    if (seen.has(`${name}/${version}`)) throw new MigrateError('SAGA_DEFINITION_INVALID', { saga: name, reason })
    seen.add(`${name}/${version}`)
  }
  const given = [
    sagas.map(({ name }) => name),
    sagas.map(({ version }) => version),
    sagas.map((saga) => JSON.stringify(shapeOf(saga))),
  ]
  await noted(
    pool,
    `insert into eventing.saga_definition (name, version, shape)
     select * from unnest($1::text[], $2::int[], $3::jsonb[]) order by 1, 2 on conflict do nothing`,
    given,
  )
  const { rows } = await pool.query(
    `select d.name, d.version, d.shape from eventing.saga_definition d
     join unnest($1::text[], $2::int[], $3::jsonb[]) as g (name, version, shape)
       on g.name = d.name and g.version = d.version where g.shape <> d.shape`,
    given,
  )
  const [changed] = rows as { name: string; version: number; shape: Shape }[]
  if (changed === undefined) return
  const { name, version, shape } = changed
  const here = sagas.find((saga) => saga.name === name && saga.version === version) as AnySaga
  const difference = `${describe(shape)} then, ${describe(shapeOf(here) as Shape)} now`
  throw new MigrateError('SAGA_DEFINITION_CHANGED', { saga: name, version, difference })
}

/** The first statement of all sagas. */
async function noted(pool: ConnectionPool, statement: string, values: unknown[]): Promise<void> {
  try {
    await pool.query(statement, values)
  } catch (cause) {
    if (!/^(42P01|3F000)$/.test(driverFacts(cause).code)) throw cause
    throw new MigrateError('EVENTING_MISSING', { service: 'this service' }, { cause })
  }
}

interface Shape {
  readonly locks: boolean
  readonly groups: readonly (readonly { readonly name: string; readonly kind: string; readonly by: string }[])[]
}

function describe({ groups, locks }: Shape): string {
  const steps = groups.map((group) => group.map(({ name, kind, by }) => `${name} (${kind}, ${by})`).join(' and '))
  return `${steps.join(', ')}${locks ? ', with locks' : ''}`
}
