export type Environment = Readonly<Record<string, string | undefined>>

/** The process's environment. The only place that reads it; everything else takes it as an argument. */
export function environment(): Environment {
  return process.env
}
