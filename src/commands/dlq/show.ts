import type { App } from '../../app/open.ts'
import { type CommandContext, defineCommand } from '../command.ts'
import { consumersMeant, kindOption, type LetterOptions, open, requireIds, requireKind } from './choice.ts'
import { consumerLetterText } from './consumer-text.ts'
import { letterText } from './dual-write-text.ts'

export const show = defineCommand<LetterOptions & { body?: true }>({
  name: 'show',
  summary: 'Show one dead letter',
  examples: ['migrate dlq show 7', 'migrate dlq show 7 --body', 'migrate dlq show 7 --kind consumer --service orders'],
  configure: (command) =>
    kindOption(command.argument('<id>', 'number of the letter'))
      .option('--service <name>', 'the service; each numbers the letters of its consumers')
      .option('--body', "also the value of the message, or the beginning of the request's body"),
  async run(context, [id = ''], { body, ...options }) {
    requireKind(options, 'dlq show')
    requireIds([id], 'dlq show')
    await using app = await open(context)
    const service = await consumersMeant(app, options)
    if (service === null) {
      await showLeg(context, app, { id, kind: options.kind, wanted: body === true })
    } else {
      await showMessage(context, app, { id, service, wanted: body === true })
    }
  },
})

async function showLeg(
  { output }: CommandContext,
  app: App,
  { id, kind, wanted }: { readonly id: string; readonly kind: string | undefined; readonly wanted: boolean },
): Promise<void> {
  const { showDeadLetter } = await import('../../app/dead-letters.ts')
  const { letter, body } = await showDeadLetter(app, id, wanted)
  const text = body === null ? null : body.toString('utf8')
  const which = kind === undefined ? id : `${id} --kind ${kind}`
  output.result(
    {
      schema: 'migrate.dlq-letter/1',
      status: 'ok',
      data: { letter, ...(wanted ? { body: text } : {}) },
      nextSteps:
        letter.state === 'open'
          ? [{ cmd: `migrate dlq retry ${which}`, why: 'make the service equal to the monolith and resolve it' }]
          : [],
    },
    (ansi) => letterText(letter, text, ansi),
  )
}

async function showMessage(
  { output }: CommandContext,
  app: App,
  { id, service, wanted }: { readonly id: string; readonly service: string; readonly wanted: boolean },
): Promise<void> {
  const { showConsumerLetter } = await import('../../app/consumer-letters.ts')
  const { letter, whole } = await showConsumerLetter(app, service, id)
  const { message, stack, time } = whole
  const headers = Object.entries(whole.headers).flatMap(([name, values]) =>
    values.map((value) => [name, textOf(Buffer.from(value, 'base64')).text] as const),
  )
  const { text, encoding } = textOf(whole.value)
  const which = `${id} --kind consumer --service ${service}`
  output.result(
    {
      schema: 'migrate.dlq-letter/1',
      status: 'ok',
      data: {
        letter: { ...letter, time: Number(time), headers, message, stack },
        ...(wanted ? { body: whole.value === null ? null : text, bodyEncoding: encoding } : {}),
      },
      nextSteps:
        letter.state === 'open'
          ? [
              {
                cmd: `migrate dlq retry ${which}`,
                why: 'have the consumer handle it again, before what waits behind it',
              },
              { cmd: `migrate dlq discard ${which} --confirm ${service}`, why: 'go on without it' },
            ]
          : [],
    },
    (ansi) => consumerLetterText(letter, { headers, message, body: wanted ? text : null }, ansi),
  )
}

/** Bytes that are no text as base64. */
function textOf(bytes: Buffer | null): { text: string; encoding: 'utf8' | 'base64' } {
  if (bytes === null) return { text: '', encoding: 'utf8' }
  try {
    return { text: UTF8.decode(bytes), encoding: 'utf8' }
  } catch {
    return { text: bytes.toString('base64'), encoding: 'base64' }
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
