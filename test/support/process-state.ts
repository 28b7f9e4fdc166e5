import { readFile } from 'node:fs/promises'

/** The state letter of a process: T = stopped, g = gone. */
export async function processState(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') gone')
  return text.slice(text.lastIndexOf(')') + 2, text.lastIndexOf(')') + 3)
}
