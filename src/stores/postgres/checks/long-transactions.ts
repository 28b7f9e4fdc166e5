import { longTransactions as read } from '../sessions.ts'
import { byHand, type Check } from './check.ts'

export const longTransactions: Check = {
  id: 'long-transactions',
  severity: 'warning',
  looksFor: 'a transaction of the monolith that has been open for minutes, or a prepared one',
  why: 'The copy cannot begin before it ends, and a cutover would give up on it.',
  async find({ monolith, longTransactionSeconds }) {
    const found = await read(monolith.sql, longTransactionSeconds)
    const fix = 'Wait for it, or end it: select pg_terminate_backend(PID), or rollback prepared for a prepared one.'
    return found.map((text) => byHand(monolith, 'a transaction is open for too long', text, fix))
  },
}
