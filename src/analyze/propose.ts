import { serviceName } from './service-name.ts'
import { fullName, type Survey, type SurveyKey, type SurveyTable } from './survey.ts'

export interface Proposal {
  /** those with the fewest crossing foreign keys first: the easiest to move */
  readonly services: readonly ProposedService[]
  /** tables that no service takes */
  readonly staying: readonly SurveyTable[]
}

export interface ProposedService {
  readonly name: string
  readonly tables: readonly SurveyTable[]
  /** foreign keys with one end outside */
  readonly crossing: readonly SurveyKey[]
}

/**
 * Groups tables into services by what belongs together: a table with the name of another in front (`order_items` to
 * `orders`), rows that go when another row goes (ON DELETE CASCADE), a look-up table that one group alone uses, a schema
 * of its own. A table that nothing connects with any other stays.
 */
export function propose(survey: Survey): Proposal {
  const groups = new Groups(survey.tables.map(fullName))
  for (const table of survey.tables) {
    const owner = ownerOf(table, survey)
    if (owner !== null) groups.join(fullName(table), owner)
  }
  const connected = new Set(survey.keys.flatMap(({ from, to }) => [fullName(from), fullName(to)]))
  for (const table of survey.tables) joinLookUp(table, survey.keys, groups)

  const found = groups.all().filter((group) => group.length > 1 || connected.has(group[0] ?? ''))
  const chosen = found.length > 0 ? found : groups.all()
  const taken = new Set<string>()
  const services = chosen.flatMap((group) => {
    const tables = survey.tables.filter((table) => group.includes(fullName(table)))
    if (tables.every(({ primaryKey }) => primaryKey.length === 0)) return []
    const head = headOf(tables, survey)
    const name = serviceName(head, taken)
    taken.add(name)
    const ordered = tables.toSorted((a, b) => Number(b.name === head) - Number(a.name === head))
    return [{ name, tables: ordered, crossing: crossingOf(tables, survey.keys) }]
  })
  return proposal(survey, services)
}

/** The same for services that somebody has named. */
export function proposeNamed(survey: Survey, named: Readonly<Record<string, readonly SurveyTable[]>>): Proposal {
  const services = Object.entries(named).map(([name, tables]) => {
    return { name, tables, crossing: crossingOf(tables, survey.keys) }
  })
  return proposal(survey, services)
}

function proposal(survey: Survey, services: readonly ProposedService[]): Proposal {
  const moving = new Set(services.flatMap(({ tables }) => tables.map(fullName)))
  return {
    services: services.toSorted((a, b) => a.crossing.length - b.crossing.length || (a.name < b.name ? -1 : 1)),
    staying: survey.tables.filter((table) => !moving.has(fullName(table))),
  }
}

function crossingOf(tables: readonly SurveyTable[], keys: readonly SurveyKey[]): SurveyKey[] {
  const inside = new Set(tables.map(fullName))
  return keys.filter(({ from, to }) => inside.has(fullName(from)) !== inside.has(fullName(to)))
}

/** The table that this one is a part of. */
function ownerOf(table: SurveyTable, { tables, keys }: Survey): string | null {
  const others = tables.filter((other) => other !== table && other.schema === table.schema)
  if (table.schema !== 'public') return others[0] === undefined ? null : fullName(others[0])
  const named = others
    .filter(({ name }) => [name, singular(name)].some((stem) => table.name.startsWith(`${stem}_`)))
    .sort((a, b) => b.name.length - a.name.length)[0]
  if (named !== undefined) return fullName(named)
  const cascade = keys.find(({ from, cascades }) => cascades && fullName(from) === fullName(table))
  return cascade === undefined ? null : fullName(cascade.to)
}

/** A table with keys of its own making (a code, an abbreviation) that refers to nothing, used by one group only. */
function joinLookUp(table: SurveyTable, keys: readonly SurveyKey[], groups: Groups): void {
  const name = fullName(table)
  if (table.numbered || table.primaryKey.length === 0 || groups.of(name).length > 1) return
  if (keys.some(({ from }) => fullName(from) === name)) return
  const users = new Set(
    keys.filter(({ to }) => fullName(to) === name).map(({ from }) => groups.of(fullName(from)).join()),
  )
  const [user] = keys.filter(({ to }) => fullName(to) === name)
  if (users.size === 1 && user !== undefined) groups.join(name, fullName(user.from))
}

/** The table that gives the group its name: the one most referred to, the shortest name among equals; or the schema. */
function headOf(tables: readonly SurveyTable[], { keys }: Survey): string {
  const [first] = tables
  if (first !== undefined && first.schema !== 'public') return first.schema
  const names = new Set(tables.map(fullName))
  const inside = keys.filter(({ from, to }) => names.has(fullName(from)) && names.has(fullName(to)))
  const parts = new Set(inside.filter(({ cascades }) => cascades).map(({ from }) => fullName(from)))
  const score = (table: SurveyTable) => {
    const name = fullName(table)
    const prefixes = tables.filter((other) => other !== table && other.name.startsWith(singular(name))).length
    return 2 * prefixes + keys.filter(({ to }) => fullName(to) === name).length - (parts.has(name) ? 100 : 0)
  }
  const head = tables.toSorted((a, b) => score(b) - score(a) || a.name.length - b.name.length)[0]
  return head?.name ?? ''
}

function singular(name: string): string {
  if (name.endsWith('ies')) return `${name.slice(0, -3)}y`
  if (/(ss|x|z|ch|sh)es$/.test(name)) return name.slice(0, -2)
  return /[^s]s$/.test(name) ? name.slice(0, -1) : name
}

/** Disjoint groups of names that can be joined. */
class Groups {
  readonly #groups: Map<string, Set<string>>

  constructor(names: readonly string[]) {
    this.#groups = new Map(names.map((name) => [name, new Set([name])]))
  }

  join(a: string, b: string): void {
    const [one, other] = [this.#groups.get(a), this.#groups.get(b)]
    if (one === undefined || other === undefined || one === other) return
    for (const name of other) {
      one.add(name)
      this.#groups.set(name, one)
    }
  }

  of(name: string): string[] {
    return [...(this.#groups.get(name) ?? [])].sort()
  }

  all(): string[][] {
    return [...new Set(this.#groups.values())].map((group) => [...group].sort())
  }
}
