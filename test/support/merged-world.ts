import { parseRunFileKey } from '../../src/format/keys.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { keysOf } from '../../src/testing/objects.ts'
import type { World } from './reach-world.ts'

const MINUTE = 60_000

/** Two processes whose segments are of one hour, which is over. */
export async function fillHour(world: World): Promise<void> {
  const writers = [await world.start('journal'), await world.start('journal')]
  for (let round = 0; round < 8; round++) {
    for (const writer of writers) {
      for (let i = 0; i < 3; i++) {
        world.pass(3)
        await world.write(writer, ((7 * round + 3 * i) % 10) / 10, round % 3 === 0)
      }
      await writer.rig.session.complete(null)
    }
    world.pass(2 * MINUTE)
  }
  world.pass(60 * MINUTE)
  for (const writer of writers) {
    await world.write(writer, 0, false)
    world.pass(3)
  }
  for (const writer of writers) await writer.rig.session.complete(null)
}

/** The keys that begin with `prefix`. */
export function keysIn(store: ObjectStore, prefix: string): Promise<string[]> {
  return keysOf(store.list(prefix))
}

/** What there is of runs. */
export interface RunKeys {
  readonly files: string[]
  readonly chains: string[]
  readonly indexes: string[]
}

/** The keys of the files of runs, named or not. */
export async function runKeys(store: ObjectStore): Promise<RunKeys> {
  const keys = await keysIn(store, 'segment/')
  const of = (kind: string): string[] => keys.filter((key) => parseRunFileKey(key)?.file === kind)
  const files = keys.filter((key) => typeof parseRunFileKey(key)?.file === 'number')
  return { files, chains: of('chain'), indexes: of('index') }
}
