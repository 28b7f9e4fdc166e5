import { byHand, type Check } from './check.ts'

export const identityColumns: Check = {
  id: 'identity-columns',
  severity: 'info',
  looksFor: 'a column GENERATED ALWAYS AS IDENTITY in the service',
  why: 'During dual-write the service has to keep the id that the monolith gave, and the column refuses it otherwise.',
  async find({ target, targetTables }) {
    return targetTables.flatMap((table) =>
      table.columns
        .filter(({ identity }) => identity === 'a')
        .map(({ name }) =>
          byHand(
            target,
            `${table.schema}.${table.name}.${name} is an identity that is always generated`,
            'GENERATED ALWAYS',
            'Insert with OVERRIDING SYSTEM VALUE when the request carries x-migrate-id.',
          ),
        ),
    )
  },
}
