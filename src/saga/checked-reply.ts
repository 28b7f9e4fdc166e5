import { MigrateError } from '../errors.ts'
import type { StandardSchema } from '../events/define.ts'
import type { Step } from './definition.ts'
import { type Entry, faultOf } from './entry.ts'

/** The entry for a command that was done: with the result as its schema makes it, or unknown when the schema refuses it. */
export async function checkedReply({ name: step, action }: Step, result: unknown): Promise<Entry> {
  const schema = action.by === 'command' ? action.reply : null
  const checked = schema === null ? { value: result } : await validate(schema, result)
  if (checked !== null) return { do: 'done', step, direction: 'execute', result: checked.value, via: 'reply' }
  // it has happened, and what it gave cannot be used: tried again it gives the same
  const reason = `the result of ${step} is not as its schema says`
  const error = faultOf(new MigrateError('SAGA_REPLY_INVALID', { reason }))
  return { do: 'unknown', step, direction: 'execute', error, retryIn: null }
}

/** Null: it is not valid. A schema that throws has not taken it either. */
async function validate(schema: StandardSchema<unknown>, result: unknown): Promise<{ value: unknown } | null> {
  try {
    const checked = await schema['~standard'].validate(result)
    return checked.issues === undefined ? checked : null
  } catch {
    return null
  }
}
