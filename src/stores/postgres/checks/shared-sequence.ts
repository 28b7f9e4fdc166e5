import { sequencesOf } from '../sequence-users.ts'
import { byHand, type Check } from './check.ts'

export const sharedSequence: Check = {
  id: 'shared-sequence',
  severity: 'warning',
  looksFor: 'a sequence that numbers a table of the service and one that stays',
  why: 'After the cutover each side counts on by itself, and the numbers are no longer unique over both tables.',
  async find({ monolith, oids }) {
    const sequences = await sequencesOf(monolith.sql, oids)
    return sequences
      .filter(({ staying }) => staying.length > 0)
      .map(({ name, moving, staying }) => {
        const message = `${name} numbers ${moving.join(', ')}, and ${staying.join(', ')}, which stays`
        const fix = `Give ${moving.join(', ')} a sequence of its own, beginning above the highest number in use.`
        return byHand(monolith, message, `${moving.length + staying.length} columns`, fix)
      })
  },
}
