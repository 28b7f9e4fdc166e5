import { byHand, type Check, sidesOf } from './check.ts'

const OLDEST = 140_000

export const version: Check = {
  id: 'version',
  severity: 'error',
  looksFor: 'a server older than PostgreSQL 14',
  why: 'The replication protocol and the catalogue that this program relies on came with PostgreSQL 14.',
  async find(context) {
    return sidesOf(context)
      .filter(({ server }) => server.version < OLDEST)
      .map((side) =>
        byHand(side, 'the server is too old', side.server.versionText, 'Upgrade it to PostgreSQL 14 or newer.'),
      )
  },
}
