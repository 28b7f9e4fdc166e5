#!/usr/bin/env node
// No static import here: an old Node.js must get as far as the check below.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  const [{ MigrateError }, { reportFailure }, { createOutput }] = await Promise.all([
    import('./errors.ts'),
    import('./commands/failure.ts'),
    import('./commands/output.ts'),
  ])
  const output = createOutput(process, { json: process.argv.includes('--json'), color: false })
  process.exitCode = reportFailure(new MigrateError('NODE_TOO_OLD', { found: process.versions.node }), output, false)
} else {
  const { keepCompiled } = await import('./config/compiled.ts')
  keepCompiled()
  const { runProcess } = await import('./commands/process.ts')
  await runProcess(process)
}

export {}
