export { formatSize as bytes } from '../model/size.ts'

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
