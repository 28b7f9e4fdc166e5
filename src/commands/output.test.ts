import { describe, expect, test } from 'vitest'
import { createOutput } from './output.ts'

const steps = [{ cmd: 'migrate status', why: 'look' }]

describe('as text', () => {
  test('the result goes to stdout with its next steps, progress to stderr', () => {
    const { output, stdout, stderr } = open({ json: false })
    output.progress({ event: 'copied', rows: 2 }, 'copied 2 rows')
    output.result({ schema: 'migrate.sync/1', status: 'ok', data: {}, nextSteps: steps }, () => 'done')
    expect(stdout()).toBe('done\n\nNext:\n  migrate status  look\n')
    expect(stderr()).toBe('copied 2 rows\n')
  })

  test('what is proposed names the configuration that was given, once', () => {
    const { output, stdout } = open({ json: false })
    output.proposeWith(' -c shop.yaml')
    const nextSteps = ['migrate status', 'cp a b', 'migrate check -c b.yaml'].map((cmd) => ({ cmd, why: 'so' }))
    output.result({ schema: 'migrate.sync/1', status: 'ok', data: {}, nextSteps }, () => 'done')
    const lines = stdout()
      .split('\n')
      .map((line) => line.trim().replace(/ +so$/, ''))
    expect(lines).toEqual(['done', '', 'Next:', 'migrate status -c shop.yaml', 'cp a b', 'migrate check -c b.yaml', ''])
  })

  test('has colours on a terminal only', () => {
    const { output, stdout } = open({ json: false, color: true, isTTY: true })
    output.result({ schema: 'migrate.a/1', status: 'ok', data: {} }, (ansi) => ansi.green('x'))
    expect(stdout()).toContain('\u001b[32m')
    for (const style of [{ isTTY: false, color: true }, { isTTY: true, color: false }, { color: true }]) {
      const other = open({ json: false, ...style })
      other.output.result({ schema: 'migrate.a/1', status: 'ok', data: {}, nextSteps: steps }, (ansi) =>
        ansi.green('x'),
      )
      other.output.progress({ event: 'e' }, other.output.colors.red('y'))
      expect(other.stdout() + other.stderr()).not.toContain('\u001b')
    }
  })
})

describe('as JSON', () => {
  test('stdout carries an object a line: events, then the envelope', () => {
    const { output, stdout, stderr } = open({ json: true })
    output.progress({ event: 'copied', lsn: 12n }, 'not this')
    output.result({ schema: 'migrate.sync/1', status: 'findings', data: { rows: 2 } }, () => 'nor this')
    expect(stdout()).toBe(
      '{"event":"copied","lsn":"12"}\n' +
        '{"schema":"migrate.sync/1","ok":false,"status":"findings","data":{"rows":2},"issues":[],"nextSteps":[]}\n',
    )
    expect(stderr()).toBe('')
  })

  test('a note for people still goes to stderr', () => {
    const { output, stdout, stderr } = open({ json: true })
    output.note('stopping')
    expect([stdout(), stderr()]).toEqual(['', 'stopping\n'])
  })
})

test.each([
  ['ok', 0],
  ['error', 1],
  ['findings', 3],
  ['action_required', 4],
] as const)('the status %s exits %i', (status, code) => {
  const { output } = open({ json: true })
  output.result({ schema: 'migrate.a/1', status, data: null }, () => '')
  expect(output.code).toBe(code)
})

test('exit overrides what the status says', () => {
  const { output } = open({ json: true })
  output.result({ schema: 'migrate.a/1', status: 'error', data: null }, () => '')
  output.exit(8)
  expect(output.code).toBe(8)
})

function open({ json, color = false, isTTY }: { json: boolean; color?: boolean; isTTY?: boolean }) {
  const [stdout, stderr] = [stream(isTTY), stream(isTTY)]
  return { output: createOutput({ stdout, stderr }, { json, color }), stdout: stdout.text, stderr: stderr.text }
}

function stream(isTTY: boolean | undefined) {
  let text = ''
  return { ...(isTTY !== undefined && { isTTY }), write: (part: string) => (text += part), text: () => text }
}
