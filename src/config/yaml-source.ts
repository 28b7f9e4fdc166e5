import {
  type Document,
  type ErrorCode,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from 'yaml'
import { MigrateError } from '../errors.ts'

const MAX_BYTES = 1024 ** 2
// An alias repeats what its anchor holds; a few lines of them nested ("alias bomb") would fill the memory.
const MAX_ALIASES = 100

/** Parses YAML and keeps where everything stands. Throws CONFIG_SYNTAX. */
export function openYaml(text: string, path: string): YamlSource {
  if (text.length > MAX_BYTES) throw syntax(`${path}:1:1`, 'the file is larger than 1 MiB')
  const lines = new LineCounter()
  // Pretty errors quote the line, and with it a password.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: false })
  const [error] = document.errors
  if (error !== undefined) throw syntax(at(error.pos[0]), SYNTAX[error.code])
  visit(document, {
    Alias(_, node) {
      if (node.resolve(document) === undefined) throw syntax(at(startOf(node) ?? 0), 'this alias has no anchor')
    },
  })

  return {
    document,
    place: (node) => at(startOf(node) ?? 0),
    placeOf: (keys) => at(offsetOf(document, keys)),
    toValue() {
      try {
        return document.toJS({ maxAliasCount: MAX_ALIASES })
      } catch (cause) {
        if (cause instanceof ReferenceError) throw syntax(at(0), 'its aliases stand for too much')
        throw cause
      }
    },
  }

  function at(offset: number): string {
    const { line, col } = lines.linePos(offset)
    return `${path}:${line}:${col}`
  }
}

export interface YamlSource {
  readonly document: Document
  /** `file:line:column` of a node */
  place(node: Node): string
  /** `file:line:column` of the key at a path, or of the nearest thing around it that was written */
  placeOf(keys: readonly PropertyKey[]): string
  toValue(): unknown
}

function offsetOf(document: Document, keys: readonly PropertyKey[]): number {
  let node: unknown = document.contents
  let offset = startOf(node) ?? 0
  for (const key of keys) {
    if (isSeq(node)) {
      node = node.items[Number(key)]
      offset = startOf(node) ?? offset
    } else if (isMap(node)) {
      const pair = node.items.find(({ key: written }) => isScalar(written) && String(written.value) === String(key))
      if (pair === undefined) break
      offset = startOf(pair.key) ?? offset
      node = pair.value
    }
  }
  return offset
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined
}

function syntax(at: string, reason: string): MigrateError {
  return new MigrateError('CONFIG_SYNTAX', { at, reason })
}

/** In our own words: the parser's may quote the text. */
const SYNTAX: Record<ErrorCode, string> = {
  ALIAS_PROPS: 'an alias cannot have an anchor or a tag',
  BAD_ALIAS: 'the name of an alias or anchor is not valid',
  BAD_COLLECTION_TYPE: 'the tag does not fit a list or map',
  BAD_DIRECTIVE: 'the directive is not valid',
  BAD_DQ_ESCAPE: 'unknown escape sequence in a double-quoted text',
  BAD_INDENT: 'the indentation does not fit',
  BAD_PROP_ORDER: 'an anchor or tag is misplaced',
  BAD_SCALAR_START: 'a text cannot begin with this character; put it in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a nested map must begin on a line of its own',
  BLOCK_IN_FLOW: 'an indented block cannot stand inside [ ] or { }',
  DUPLICATE_KEY: 'this key is there twice',
  IMPOSSIBLE: 'this is not YAML',
  KEY_OVER_1024_CHARS: 'the key is too long',
  MISSING_CHAR: 'a character is missing here: a closing quote, ], }, a colon or a comma',
  MULTILINE_IMPLICIT_KEY: 'a key must be on one line',
  MULTIPLE_ANCHORS: 'there is more than one anchor',
  MULTIPLE_DOCS: 'the file must hold one document only',
  MULTIPLE_TAGS: 'there is more than one tag',
  NON_STRING_KEY: 'a key must be a text',
  RESOURCE_EXHAUSTION: 'the document is nested too deeply',
  TAB_AS_INDENT: 'a tab cannot be used to indent; use spaces',
  TAG_RESOLVE_FAILED: 'the tag is not known',
  UNEXPECTED_TOKEN: 'this was not expected here',
}
