const LONGEST = 30

/** A name of a service in the form that the configuration wants, from the name of a table, and unlike those taken. */
export function serviceName(table: string, taken: ReadonlySet<string>): string {
  const form = table
    .toLowerCase()
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
    .replace(/[^a-z0-9_]+/g, '_')
    .replace(/^[^a-z]+|_+$/g, '')
  const base = (form === '' || form === 'monolith' ? `service_${form}` : form).replace(/_$/, '').slice(0, LONGEST)
  let name = base
  for (let number = 2; taken.has(name); number++)
    name = `${base.slice(0, LONGEST - 1 - String(number).length)}_${number}`
  return name
}
