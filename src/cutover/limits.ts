/** Grace of dual-write outside a drain, milliseconds; the second leg's deadline is below it. */
export const GRACE = 1_000
/** Routers have this long to obey a hold and to end what they have under way. */
export const ROUTERS_IDLE = 1_500
/** Open second legs have this long to be revoked. */
export const LEGS_ENDED = 1_500
/** Longest that taking the fence, or closing the service's gate, waits for transactions that passed before. */
export const GATE_WAIT = 2_300
/** A router that was not heard of for so long is waited for before a switch only, seconds. */
export const ROUTER_SILENCE = 3
/** Longer than a router's silence. */
export const ROUTERS_OBEY = 5_000
/** The switch wants this much of the fence left. */
export const SWITCH_RESERVE = 400
