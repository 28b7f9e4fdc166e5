const SECRET_KEY = /password|passphrase|secret|token|webhook|sasl|credential|private/i
const MASKED = '***'

/**
 * A value as it may be printed: no password of a URL, nothing under a key that speaks of a secret, and nothing that was
 * read from a file of its own, which is where secrets are kept.
 */
export function mask(path: readonly (string | number)[], value: unknown, fromFile: boolean): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  if (path.some((key) => typeof key === 'string' && SECRET_KEY.test(key))) return MASKED
  if (URL.canParse(text) && text.includes('://')) return withoutPassword(text)
  return fromFile || /:\/\/[^/\s]*@/.test(text) ? MASKED : text
}

function withoutPassword(text: string): string {
  const url = new URL(text)
  const secret = [...url.searchParams.keys()].filter((name) => SECRET_KEY.test(name))
  if (url.password === '' && secret.length === 0) return text
  url.password = ''
  for (const name of secret) url.searchParams.set(name, MASKED)
  return url.href
}
