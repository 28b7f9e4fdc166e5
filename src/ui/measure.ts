/** `1.2 MiB` */
export function bytes(count: number): string {
  if (count < 1024) return `${count} B`
  const [value, unit] =
    count < 1024 ** 2
      ? [count / 1024, 'KiB']
      : count < 1024 ** 3
        ? [count / 1024 ** 2, 'MiB']
        : [count / 1024 ** 3, 'GiB']
  return `${value.toFixed(1)} ${unit}`
}

/** `42 s`, `3 min`, `1.5 h` */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(0, seconds).toFixed(0)} s`
  if (seconds < 3600) return `${(seconds / 60).toFixed(0)} min`
  return `${(seconds / 3600).toFixed(1)} h`
}

/** `12,345` */
export function number(value: number): string {
  return Math.round(value).toLocaleString('en')
}
