const UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

/** Bytes of `512KiB`, `5MiB`, `1.5GiB`; null when it is no size. */
export function parseSize(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB)$/.exec(text)
  const bytes = Math.round(Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? Number.NaN))
  return bytes > 0 ? bytes : null
}

/** `1.2 MiB` */
export function formatSize(count: number): string {
  if (count < 1024) return `${count} B`
  const [value, unit] =
    count < 1024 ** 2
      ? [count / 1024, 'KiB']
      : count < 1024 ** 3
        ? [count / 1024 ** 2, 'MiB']
        : [count / 1024 ** 3, 'GiB']
  return `${value.toFixed(1)} ${unit}`
}
