import { byHand, type Check } from './check.ts'

export const sameDatabase: Check = {
  id: 'same-database',
  severity: 'error',
  looksFor: "a service whose database is the monolith's own",
  why: 'The copy would write into the tables it reads.',
  async find({ monolith, target, service }) {
    const [a, b] = [monolith.server, target.server]
    if (a.systemIdentifier !== b.systemIdentifier || a.database !== b.database) return []
    return [
      byHand(
        target,
        "the service's database is the monolith's",
        `database ${b.database} of the same server`,
        `Give ${service} a database of its own and name it in services.${service}.stores.`,
      ),
    ]
  },
}
