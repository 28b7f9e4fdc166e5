export interface CrossIssue {
  readonly path: readonly (string | number)[]
  readonly message: string
}

interface Checked {
  readonly services: Readonly<
    Record<string, { readonly tables: object; readonly routes: readonly { path: string; sticky: readonly string[] }[] }>
  >
}

/** `migrate sync ctl` is a group of commands. */
export function checkNames({ services }: Checked): CrossIssue[] {
  return Object.hasOwn(services, 'ctl') ? [{ path: ['services', 'ctl'], message: 'is the name of a command' }] : []
}

/** A table has one owner: two services copying it could not both be its authority. */
export function checkOneOwner({ services }: Checked): CrossIssue[] {
  const owners = new Map<string, string>()
  const issues: CrossIssue[] = []
  for (const [service, { tables }] of Object.entries(services)) {
    for (const table of Object.keys(tables)) {
      const full = table.includes('.') ? table : `public.${table}`
      const owner = owners.get(full)
      if (owner === undefined) owners.set(full, service)
      else issues.push({ path: ['services', service, 'tables'], message: claimed(table, owner, service) })
    }
  }
  return issues
}

function claimed(table: string, owner: string, service: string): string {
  return owner === service ? `names ${table} twice` : `names ${table}, which already belongs to ${owner}`
}

/** Slots allow no hyphen, so `a-b` and `a_b` would share one. */
export function checkSlotNames({ services }: Checked): CrossIssue[] {
  const names = Object.keys(services)
  return names
    .filter((name, at) => names.slice(0, at).some((other) => slotForm(other) === slotForm(name)))
    .map((name) => ({ path: ['services', name], message: 'differs from another service only by - and _' }))
}

function slotForm(name: string): string {
  return name.replaceAll('-', '_')
}

/** `path:NAME` must find a segment `:NAME` in the path of its route. */
export function checkPathKeys({ services }: Checked): CrossIssue[] {
  return Object.entries(services).flatMap(([service, { routes }]) =>
    routes.flatMap(({ path, sticky }, route) =>
      sticky.flatMap((key, at) => {
        const parameter = /^path:(.*)$/.exec(key)?.[1]
        if (parameter === undefined || path.split('/').includes(`:${parameter}`)) return []
        const place = ['services', service, 'routes', route, 'sticky', at]
        return [{ path: place, message: `has no segment :${parameter} in the path of its route` }]
      }),
    ),
  )
}
