import { expect, test } from 'vitest'
import { tablesWrittenBy } from './written-tables.ts'

test.each([
  ['begin new.updated_at := now(); return new; end', [], false],
  ['begin insert into audit_log values (1); return new; end', ['audit_log'], false],
  ['begin update only shop.Stock set n = 1; delete from "Odd ""name" where a; end', ['Odd "name', 'stock'], false],
  ['begin -- insert into a\n /* update b\n set */ perform 1; end', [], false],
  ['begin truncate table a; merge into b using c on true when matched then delete; end', ['a', 'b'], false],
  ["begin execute format('insert into %I values (1)', tg_argv[0]); return null; end", [], true],
  ['begin select * from a for update; return new; end', [], false],
])('%j writes to %j', (source, tables, dynamic) => {
  expect(tablesWrittenBy(source)).toEqual({ tables, dynamic })
})
