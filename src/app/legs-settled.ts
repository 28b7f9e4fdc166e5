import { readCheckpoint } from '../stores/postgres/checkpoint.ts'
import { type App, namesOf } from './open.ts'

/**
 * Is every row gone that only second legs have made and that they made before this place in the service's log? The way
 * back does not pass such a row before. True where no second legs run.
 */
export async function legsSettled(app: App, name: string, fence: bigint): Promise<boolean> {
  const names = namesOf(app.config, name)
  if ((await readCheckpoint(app.service(name), names.forward))?.hold !== true) return true
  const reverse = await readCheckpoint(app.monolith, names.reverse)
  return reverse === null || reverse.commitLsn >= fence
}
