/** With MIGRATE_MATRIX=full every place and every schedule is tried (half an hour), else the most telling ones. */
export const FULL = process.env.MIGRATE_MATRIX === 'full'
