// How fast and how heavy `migrate sync` is beside what PostgreSQL brings: the rows "apply", "hot keys", "lag" and "memory"
// of the table in the design of the sync. `npm run bench:sync`, with `-- --json` for the last line. The peers run in the
// same run on the same log: native logical replication (a subscription in binary, once streaming big transactions and
// once not), and pg_recvlogical into /dev/null, which is the WAL sender alone. Both servers are Debian's PostgreSQL 15.
//   --only apply,hot         some of the rows; there are lag and memory too
//   --scale 0.1              a tenth of the load of apply and hot
//   --rounds 2               how often each contender applies the same log
//   --contenders ours,native only these of apply and hot; rows of peers that are left out are not printed
//   --rate 2000 --seconds 30 transactions a second and duration of lag
//   --rows 5000000           of the big transaction of memory
//   --stall 60               seconds that the sink of memory stands still
//   --profile                processor seconds of WAL sender, client and the target's sessions
//   --cpu-prof FOLDER        a profile of each of our runs; writing it counts as their time
import { cpus, loadavg, totalmem } from 'node:os'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { printReport, type Row } from './report.ts'
import { lag } from './sync/lag.ts'
import { memory } from './sync/memory.ts'
import { race, say } from './sync/race.ts'
import { hotKeys, mixed } from './sync/workloads.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    only: { type: 'string', default: 'apply,hot,lag,memory' },
    scale: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '2' },
    contenders: { type: 'string', default: '' },
    rate: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '30' },
    rows: { type: 'string', default: '5000000' },
    stall: { type: 'string', default: '60' },
    profile: { type: 'boolean', default: false },
    'cpu-prof': { type: 'string' },
  },
})
const [scale, rounds] = [Number(values.scale), Number(values.rounds)]
const folder = values['cpu-prof']
const node = folder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${resolve(folder)}`]
const only = values.contenders.split(',').filter(Boolean)
const options = { rounds, node, only, profile: values.profile }

const WORKS: Readonly<Record<string, () => Promise<Row[]>>> = {
  apply: () =>
    race(mixed(scale), { ...options, goals: { native: 0.75, 'native-unstreamed': 0.75, pg_recvlogical: 1.3 } }),
  hot: () => race(hotKeys(scale), { ...options, goals: { native: 0.4, 'native-unstreamed': 0.4 } }),
  lag: () => lag({ rounds, perSecond: Number(values.rate), seconds: Number(values.seconds), node }),
  memory: () => memory({ rows: Number(values.rows), stall: Number(values.stall), node }),
}

const rows: Row[] = []
let failed = false
for (const name of values.only.split(',')) {
  const work = WORKS[name]
  if (work === undefined) throw new Error(`--only ${name}: there are ${Object.keys(WORKS).join(', ')}`)
  try {
    rows.push(...(await work()))
  } catch (error) {
    // what the others have measured still counts
    failed = true
    say(`${name} FAILED: ${String(error instanceof Error ? error.stack : error)}`)
  }
}
const load = loadavg()
  .map((n) => n.toFixed(1))
  .join(' ')
const machine = `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, load ${load}`
const code = printReport({ bench: 'sync', machine, rows }, values.json)
process.exitCode = failed ? 1 : code
