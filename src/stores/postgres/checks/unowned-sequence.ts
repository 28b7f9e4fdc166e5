import { sequencesOf } from '../sequence-users.ts'
import { bySql, type Check } from './check.ts'

export const unownedSequence: Check = {
  id: 'unowned-sequence',
  severity: 'warning',
  looksFor: 'a sequence that numbers a column but is not owned by it, on both sides',
  why: 'A cutover moves the sequences that columns own; this one would give out numbers that are taken.',
  async find({ monolith, target, oids, targetTables }) {
    const sides = [
      [monolith, oids],
      [target, targetTables.map(({ oid }) => oid)],
    ] as const
    const found = sides.map(async ([side, tables]) => {
      const sequences = await sequencesOf(side.sql, tables)
      return sequences
        .filter(({ owned, staying }) => !owned && staying.length === 0)
        .map(({ name, moving }) => {
          const [column = ''] = moving
          const sql = `alter sequence ${name} owned by ${column};`
          return bySql(side, `${name} numbers ${column} but is not owned by it`, 'owned by none', [sql])
        })
    })
    return (await Promise.all(found)).flat()
  },
}
