import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Eventing } from './eventing.ts'

/** A migrate.yaml whose service `orders` has this database; its monolith is not there. */
export async function eventingConfig({ server, url }: Eventing): Promise<string> {
  const path = join(server.folder, 'migrate.yaml')
  await writeFile(
    path,
    `project: shop
monolith: { database: "postgres://nobody:secret@127.0.0.1:1/none", http: "http://127.0.0.1:1" }
services:
  orders: { http: "http://127.0.0.1:1", tables: [orders], stores: [{ kind: postgres, url: "${url}" }] }
`,
  )
  return path
}
