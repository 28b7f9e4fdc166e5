import { runCommand } from './command.ts'
import type { Message } from './message.ts'
import { postWebhook } from './webhook.ts'

export type Target =
  | { readonly webhook: string; readonly secret?: string | undefined }
  | { readonly command: readonly string[] }

export interface DeliveryOptions {
  /** milliseconds that one try may take */
  readonly timeout: number
  /** the whole environment of a command */
  readonly env: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** One try. Throws ALERT_UNDELIVERED, which is tried again, or ALERT_REFUSED. */
export function deliver(target: Target, message: Message, options: DeliveryOptions): Promise<void> {
  return 'webhook' in target ? postWebhook(target, message, options) : runCommand(target, message, options)
}

/** As it may be printed: the path of a webhook is often its password. */
export function targetName(target: Target): string {
  return 'webhook' in target ? new URL(target.webhook).origin : (target.command[0] ?? '')
}
