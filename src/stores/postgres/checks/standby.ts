import { byHand, type Check, sidesOf } from './check.ts'

export const standby: Check = {
  id: 'standby',
  severity: 'error',
  looksFor: 'a server that is a standby',
  why: 'Publications, gates and copied rows have to be written, and only the primary can be.',
  async find(context) {
    const found = sidesOf(context).map(async (side) => {
      const { rows } = await side.sql.query<{ standby: boolean }>('select pg_is_in_recovery() as standby')
      if (rows[0]?.standby !== true) return []
      return [byHand(side, 'this server is a standby', 'in recovery', 'Name the primary in the configuration.')]
    })
    return (await Promise.all(found)).flat()
  },
}
