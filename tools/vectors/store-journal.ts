import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createLogger } from '../../src/base/log.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import type { Image, Item } from '../../src/model/event.ts'
import { image, item, RAW, user } from './content.ts'
import { StepClock, VectorDatabase } from './database.ts'
import { lay } from './expected.ts'
import { afterRestart } from './journal.ts'

const NAME = 'store-journal'
const IDS = ['sealed', 'ann', 'bob', 'waiting', 'happened', 'eve']
const WHOLE_EVENTS = 5

/** A process without a disk, which keeps its journal in the store, and was killed. */
export async function makeStoreJournal(work: string, made: string): Promise<void> {
  const clock = new StepClock()
  const directory = `${work}/${NAME}`
  const doors = `${work}/doors`
  mkdirSync(doors)
  process.env.TMPDIR = doors // where a stream without a directory has its door; the timeline names it
  const states = ['ann', 'bob', 'eve'].map((id) => ({ ...user(id), image: image({ id, n: 0 }) }))
  const database = new VectorDatabase([{ ...item('schema', ''), image: image({ version: '1' }) }, ...states])
  const options = {
    store: `file:${directory}/store`,
    source: database,
    journal: `${directory}/journal`,
    ack: 'store',
    seal: { events: 1000, ageMs: 1e9, closeMs: 60_000 },
    logger: createLogger('silent'),
  } as const
  const tidemark = await Tidemark.capture(options, clock)
  while ((await tidemark.status()).snapshots.length === 0) await new Promise((resolve) => setTimeout(resolve, 20))
  const put = async (id: string, state: Image | null): Promise<void> => {
    clock.step()
    await database.write([[user(id), state]])
  }
  await put('sealed', image({ id: 'sealed' }))
  await tidemark.flush()
  clock.step()
  const together: [Item, Image | null][] = [
    [user('ann'), image({ id: 'ann', n: 1 }, RAW.older)],
    [user('bob'), null],
  ]
  await database.write(together, { actor: 'clerk é', transaction: 'tx', metadata: '{}' })
  await put('waiting', image({ id: 'waiting' }, RAW.binary))
  await put('waiting', image({ id: 'waiting', n: 1 }))
  clock.step()
  // Nobody hears of these again: what was meant is there, or what was there before.
  void database.write([[user('happened'), image({ id: 'happened' })]], { actor: 'lost' }, 'done, then silence')
  void database.write([[user('eve'), null]], { actor: 'lost' }, 'silence')
  await new Promise((resolve) => setTimeout(resolve, 200))
  cpSync(`${directory}/store`, `${made}/${NAME}/store`, { recursive: true })
  rmSync(`${made}/${NAME}/store/.tmp`, { recursive: true, force: true })
  // Of this process itself: a stream whose door is gone is nobody's.
  rmSync(doors, { recursive: true })
  const restart = { held: database.states, spec: {}, ids: IDS, whole: WHOLE_EVENTS, ack: 'store' } as const
  const expected = await afterRestart(`${work}/recovered-${NAME}`, `${made}/${NAME}`, restart)
  writeFileSync(`${made}/${NAME}/expected.json`, `${lay(expected)}\n`)
}
