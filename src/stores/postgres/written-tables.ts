/** Names of tables, without schema, that statements in the source of a function write to. */
export function tablesWrittenBy(source: string): { readonly tables: string[]; readonly dynamic: boolean } {
  const code = withoutComments(source)
  const tables = [...code.matchAll(WRITE)].map((match) => unquoted(match[1] ?? ''))
  // `execute function` belongs to the definition of a trigger; everything else is SQL made at run time
  const dynamic = /\bexecute\b(?!\s+(function|procedure)\b)/i.test(code)
  return { tables: [...new Set(tables)].sort(), dynamic }
}

const NAME = String.raw`(?:"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)`
const WRITE = new RegExp(
  String.raw`\b(?:insert\s+into|update|delete\s+from|merge\s+into|truncate(?:\s+table)?)\s+(?:only\s+)?(?:${NAME}\s*\.\s*)?(${NAME})`,
  'giu',
)

function withoutComments(source: string): string {
  return source.replace(/--[^\n]*|\/\*[\s\S]*?\*\//g, ' ')
}

function unquoted(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase()
}
