import { crossingForeignKeys } from '../catalogue.ts'
import { quote } from '../identifier.ts'
import { byHand, type Check } from './check.ts'

export const foreignKeys: Check = {
  id: 'foreign-keys',
  severity: 'warning',
  looksFor: 'a foreign key between a table of the service and one that stays',
  why: 'Two databases cannot keep it. `sync` works with it, `cutover` is refused until it is gone.',
  async find({ monolith, tables }) {
    const keys = await crossingForeignKeys(
      monolith.sql,
      tables.map(({ oid }) => oid),
    )
    return keys.map(({ name, from, to, definition }) => {
      // what the key did becomes the application's business: not for a script to decide
      const fix = `Before the cutover: alter table ${from} drop constraint ${quote(name)};`
      return byHand(monolith, `${name} goes from ${from} to ${to}, across the border of the service`, definition, fix)
    })
  },
}
