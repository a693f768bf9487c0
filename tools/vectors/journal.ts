import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLogger } from '../../src/base/log.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import type { Image } from '../../src/model/event.ts'
import type { ItemState } from '../../src/restore/target.ts'
import type { StoreSpec } from '../../src/store/open.ts'
import { INITIAL, image, RAW, user } from './content.ts'
import { nameOf, StepClock, VectorDatabase } from './database.ts'
import { type ExpectedEvent, type ExpectedJournal, eventOf, lay, rowOf, type ToldChange } from './expected.ts'

const FILE_HEADER = 64
const FRAME_HEADER = 96
const MOST_JOURNAL = 16 * 1024
const WHOLE_EVENTS = 4
const IDS = ['sealed', 'waiting', 'bob', 'ann', 'happened', 'eve', 'torn']

/** A journal that is made: with `encryption` its frames are encrypted too. */
export interface VectorJournal {
  readonly name: string
  readonly spec: Omit<StoreSpec, 'url'>
}

/** Everything that the journal of a killed process can hold, and what becomes of it at the next start. */
export async function makeJournal(work: string, made: string, { name, spec }: VectorJournal): Promise<void> {
  const clock = new StepClock()
  const directory = `${work}/${name}`
  const encrypt = spec.encryption !== undefined
  const database = new VectorDatabase(
    INITIAL.map(([{ kind, resource, id }, one]) => ({ kind, resource, id, image: one })),
  )
  const options = {
    store: { url: `file:${directory}/store`, ...spec },
    source: database,
    journal: { directory: `${directory}/journal`, limitBytes: MOST_JOURNAL, encrypt },
    seal: { events: 1000, ageMs: 1e9, closeMs: 60_000 },
    logger: createLogger('silent'),
  }
  const tidemark = await Tidemark.capture(options, clock)
  while ((await tidemark.status()).snapshots.length === 0) await new Promise((resolve) => setTimeout(resolve, 20))
  const put = async (id: string, state: Image | null, ...rest: [object?, 'done'?]): Promise<void> => {
    clock.step()
    await database.write([[user(id), state]], ...rest)
  }
  await put('sealed', image({ id: 'sealed', n: 1 }))
  await put('sealed', image({ id: 'sealed', n: 2 }, RAW.stored))
  await tidemark.flush()
  await put('waiting', image({ id: 'waiting', n: 1 }, RAW.forms), {
    actor: 'clerk é',
    transaction: 'tx',
    metadata: '{}',
  })
  await put('bob', null)
  await database.write([[user('ann'), image({ id: 'ann', n: 1 })]], {}, 'refused').catch(() => {})
  clock.step()
  // Nobody hears of these again: what was meant is there, or what was there before.
  void database.write([[user('happened'), image({ id: 'happened' })]], { actor: 'lost' }, 'done, then silence')
  void database.write([[user('ann'), null]], { actor: 'lost' }, 'silence')
  void database.write([[user('eve'), image({ id: 'eve', n: 1 })]], { actor: 'lost' }, 'silence')
  await new Promise((resolve) => setTimeout(resolve, 200))
  // Behind the back of the process: neither what was there, nor what it meant.
  database.held.set(nameOf(user('eve')), { ...user('eve'), image: image({ id: 'eve', note: 'of somebody else' }) })
  database.foresees = false
  await put('torn', image({ id: 'torn', note: 'its event was being written when the machine went down' }))
  cpSync(`${directory}/store`, `${made}/${name}/store`, { recursive: true })
  rmSync(`${made}/${name}/store/.tmp`, { recursive: true, force: true })
  cpSync(`${directory}/journal`, `${made}/${name}/journal`, {
    recursive: true,
    filter: (path) => !/door\.|clock$|peers$|answered/.test(path),
  })
  tear(`${made}/${name}/journal`, encrypt ? 'TMFE' : 'TMF2')
  const held = database.states
  const restart = { held, spec, ids: IDS, whole: WHOLE_EVENTS, ack: 'journal' } as const
  const expected = await afterRestart(`${work}/recovered-${name}`, `${made}/${name}`, restart)
  writeFileSync(`${made}/${name}/expected.json`, `${lay(expected)}\n`)
}

/** Zeros for the second half of the last frame; where it begins a file, the one before was not ended yet. */
function tear(journals: string, magic: string): void {
  const paths = readdirSync(journals, { recursive: true, encoding: 'utf8' })
  const used = paths
    .map((name) => join(journals, name))
    .filter((path) => path.endsWith('.journal') && readFileSync(path).includes(magic))
    .sort()
  const [before, path] = [used.at(-2) ?? '', used.at(-1) ?? '']
  const bytes = readFileSync(path)
  const at = bytes.lastIndexOf(magic)
  const length = FRAME_HEADER + bytes.readUInt32LE(at + 16)
  writeFileSync(path, bytes.fill(0, at + Math.floor(length / 2)))
  if (at !== FILE_HEADER) return
  const whole = readFileSync(before)
  writeFileSync(before, whole.fill(0, whole.lastIndexOf('TMJE')))
}

interface Restart {
  readonly held: readonly ItemState[]
  readonly spec: Omit<StoreSpec, 'url'>
  /** The ids whose events are told, and how many events of the stream are whole. */
  readonly ids: readonly string[]
  readonly whole: number
  readonly ack: 'journal' | 'store'
}

/** What the next start makes of it, on a copy: events of the journal have their stamps, settled ones get theirs then. */
export async function afterRestart(copy: string, made: string, restart: Restart): Promise<ExpectedJournal> {
  const { held, spec, ids, whole, ack } = restart
  cpSync(made, copy, { recursive: true })
  const source = new VectorDatabase(held)
  const store = { url: `file:${copy}/store`, ...spec }
  const logger = createLogger('silent')
  const tidemark = await Tidemark.capture({ store, source, journal: `${copy}/journal`, ack, logger })
  const events: (ExpectedEvent & { id: string })[] = []
  const settled: (ToldChange & { id: string; operation: string })[] = []
  for (const id of ids) {
    for await (const event of tidemark.history('users', id)) {
      const { ulid, stream, sequence, ...told } = eventOf(event)
      if (sequence > whole) settled.push({ id, ...told })
      else events.push({ id, ulid, stream, sequence, ...told })
    }
  }
  const gaps = await tidemark.gaps()
  await tidemark.close()
  return { held: held.map(rowOf), gaps, events, settled }
}
