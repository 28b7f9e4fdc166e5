/** Many rows at once: create it, COPY into it, apply it. */
export interface Stage {
  readonly create: string
  readonly empty: string
  readonly copy: string
  /** changes as many rows as were copied, unless some were not found */
  readonly apply: string
  /** of the prepared statement `apply` */
  readonly name: string
}
