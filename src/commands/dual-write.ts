import { defineCommand } from './command.ts'

export const dualWrite = defineCommand<{ off?: true }>({
  name: 'dual-write',
  summary: 'Send writes to the monolith first, then to the service',
  examples: ['migrate dual-write users', 'migrate dual-write users --off', 'migrate dual-write users --json'],
  configure: (command) =>
    command
      .argument('<service>', 'name of the service in the configuration')
      .option('--off', 'go back to stage route, in order'),
  async run({ signal, output, loadConfig }, [name = ''], { off }) {
    const { openApp } = await import('../app/open.ts')
    const { enterDualWrite, leaveDualWrite } = await import('../app/dual-write.ts')
    await using app = openApp(await loadConfig(), `dual-write/${name}`)
    if (off === true) {
      await leaveDualWrite(app, name, signal)
      output.result(
        {
          schema: 'migrate.dual-write/1',
          status: 'ok',
          data: { service: name, stage: 'route' },
          nextSteps: [{ cmd: `migrate status ${name}`, why: 'see where it stands' }],
        },
        (ansi) => `${ansi.green('✔')} ${name} is back at stage route: no second leg is under way`,
      )
      return
    }
    const { epoch } = await enterDualWrite(app, name, signal)
    output.result(
      {
        schema: 'migrate.dual-write/1',
        status: 'ok',
        data: { service: name, stage: 'dual-write', epoch },
        nextSteps: [
          { cmd: `migrate status ${name}`, why: 'see how the second legs do' },
          { cmd: `migrate cutover ${name} --dry-run`, why: 'see the gates and steps of the cutover' },
        ],
      },
      (ansi) => `${ansi.green('✔')} ${name} is at stage dual-write: writes go to the monolith, then to the service`,
    )
  },
})
