import { hostname, userInfo } from 'node:os'

/** Who gives an order, for the audit and for those who find it: `ann@laptop`. */
export function personName(): string {
  return `${userInfo().username}@${hostname()}`
}
