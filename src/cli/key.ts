import { type KeyChange, type KeyInfo, Keys, newSecret } from '../engine/keys.ts'
import { placeOf } from '../engine/opening.ts'
import { type CommonOptions, type Surroundings, storeArgument, storeOf } from './command.ts'
import { table } from './format.ts'
import { writeLines } from './terminal.ts'

/** `tidemark key list`: the keys that open the store. */
export async function keyListCommand(options: CommonOptions, around: Surroundings): Promise<void> {
  const keys = await (await open(options, around)).list()
  const lines = options.json
    ? keys.map((key) => JSON.stringify(key))
    : [...keyTable(keys), 'next: replace the secret that is set now:', `  tidemark key rotate${storeArgument(options)}`]
  await writeLines(around.terminal.out, lines)
}

/** `tidemark key add`: one more key, from `TIDEMARK_NEW_PASSPHRASE` or `TIDEMARK_NEW_KEY`. */
export async function keyAddCommand(options: CommonOptions, around: Surroundings): Promise<void> {
  const next = await newSecret(around.terminal.environment)
  await report(await (await open(options, around)).add(next), options, around)
}

/** `tidemark key rotate`: the new secret in the place of the present one. */
export async function keyRotateCommand(options: CommonOptions, around: Surroundings): Promise<void> {
  const next = await newSecret(around.terminal.environment)
  await report(await (await open(options, around)).rotate(next), options, around)
}

/** `tidemark key remove <id>`. */
export async function keyRemoveCommand(id: string, options: CommonOptions, around: Surroundings): Promise<void> {
  await report(await (await open(options, around)).remove(id), options, around)
}

async function open(options: CommonOptions, around: Surroundings): Promise<Keys> {
  return Keys.open(await placeOf(await storeOf(options, around), around.terminal.environment))
}

async function report(change: KeyChange, options: CommonOptions, { terminal }: Surroundings): Promise<void> {
  const done = [...change.added.map((id) => `added    ${id}`), ...change.removed.map((id) => `removed  ${id}`)]
  const lines = options.json
    ? [JSON.stringify(change)]
    : [...(done.length === 0 ? ['nothing was left to do'] : done), ...keyTable(change.keys)]
  await writeLines(terminal.out, lines)
}

function keyTable(keys: readonly KeyInfo[]): string[] {
  return table(
    ['id', 'opens with', 'made'],
    keys.map(({ id, kind, createdAt }) => [id, `a ${kind}`, createdAt]),
    '',
  )
}
