// Was a defect: each change that has to be done by itself closes a segment, and each segment has a room of its own for each table.
import { expect, test } from 'vitest'
import { catchUp, openCdc, publishTables } from '../support/cdc.ts'

// 20 s each: `npm run soak -- sync-memory`
test.runIf(process.env.MIGRATE_MATRIX === 'full')(
  'memory of a transaction in which rows of a type without binary form come between others',
  async () => {
    await using cdc = await openCdc({ name: 'alternating', settings: { fsync: 'off' } })
    await cdc.both(`create table t (id int primary key); create table log (id int primary key, who aclitem)`)
    await cdc.source.query(`create function note() returns trigger language plpgsql as
    $$ begin insert into log values (new.id, 'postgres=r/postgres'); return new; end $$;
    create trigger note before insert on t for each row execute function note()`)
    await publishTables(cdc, ['t', 'log'])
    await cdc.source.query(`insert into t select generate_series(1, 60000)`)
    const before = process.memoryUsage().rss
    let most = 0
    const look = setInterval(() => (most = Math.max(most, process.memoryUsage().rss - before)), 20)
    await catchUp(cdc, ['t', 'log'])
    clearInterval(look)
    console.log({ mostMiB: most / 2 ** 20 })
    expect(most / 2 ** 20).toBeLessThan(200)
  },
)
