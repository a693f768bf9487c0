import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { createLogger } from '../../src/base/log.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import type { Image, Item } from '../../src/model/event.ts'
import { image, item, RAW, user } from './content.ts'
import { nameOf, StepClock, VectorDatabase, type Written } from './database.ts'
import { digestsOf } from './digests.ts'
import { type ExpectedStore, lay } from './expected.ts'
import { acknowledge, expectedOf, provenBy } from './store.ts'
import type { Told } from './story.ts'

const NAME = 'late-and-lost'
/** Pads a write, so that each has journal files of its own. */
const PADDING = '.'.repeat(400)

const SEAL = { events: 1000, ageMs: 1e9, closeMs: 60_000 }
const LOGGER = createLogger('silent')

const INITIAL: readonly [Item, Image][] = [
  [item('schema', ''), image({ version: '1' })],
  [user('ann'), image({ id: 'ann', n: 0 }, RAW.stored)],
  [user('bob'), image({ id: 'bob', n: 0 })],
]

/**
 * A store that a process had to do without, while another machine went on: what it had captured came late. Then it was killed, and
 * before the next start somebody took away a file of its journal.
 */
export async function makeLate(work: string, made: string): Promise<void> {
  const story = new LateStory(`${work}/${NAME}`)
  await story.tell()
  const { restarted } = story
  const tidemark = await Tidemark.open({ store: `file:${restarted}/store` }, story.clock)
  story.clock.step()
  await acknowledge(tidemark, 'two files of the journal are gone')
  const [drill] = await tidemark.drill({ at: story.told.at(-1)?.moment ?? 'latest' })
  if (drill?.passed !== true) throw new Error('the drill failed')
  const found = await expectedOf(tidemark, story, true)
  await tidemark.close()
  const digests = await digestsOf(`${restarted}/store`, { url: `file:${restarted}/store` })
  const expected: ExpectedStore = { ...found, drill: provenBy(drill), digests }
  rmSync(`${restarted}/store/.tmp`, { recursive: true, force: true })
  cpSync(`${restarted}/store`, `${made}/${NAME}/store`, { recursive: true })
  writeFileSync(`${made}/${NAME}/expected.json`, `${lay(expected)}\n`)
}

class LateStory {
  readonly clock = new StepClock()
  readonly told: Told[] = []
  /** Where it goes on after the process was killed. */
  readonly restarted: string
  readonly #directory: string
  #databases: readonly VectorDatabase[] = []
  #lost = ''

  constructor(directory: string) {
    this.#directory = directory
    this.restarted = `${directory}-restarted`
  }

  /** What was written and is in the history. */
  get recorded(): readonly Written[] {
    return this.#databases.flatMap(({ written }) => written).filter(({ id }) => id !== this.#lost)
  }

  async tell(): Promise<void> {
    const states = INITIAL.map(([{ kind, resource, id }, one]) => ({ kind, resource, id, image: one }))
    const database = new VectorDatabase(states)
    this.#databases = [database]
    mkdirSync(`${this.#directory}/disk`, { recursive: true })
    this.#mount('here')
    this.#mount('elsewhere')
    const first = await this.#start('here', database)
    await until(async () => (await first.status()).snapshots.length > 0)
    this.#mark('at first', database)
    await first.close()
    await this.#without(database)
    await this.#killed(database)
  }

  /** The store is away from one process, and another machine captures into it meanwhile. */
  async #without(database: VectorDatabase): Promise<void> {
    unlinkSync(`${this.#directory}/here`)
    const away = await this.#start('here', database)
    await this.#put(database, 'ann', { n: 1 })
    this.clock.step()
    await database.write([
      [user('bob'), null],
      [user('carl'), image({ id: 'carl' }, RAW.forms)],
    ])
    const hidden = `${this.#directory}/journal-here`
    renameSync(hidden, `${hidden}-unseen`)
    const other = new VectorDatabase(
      INITIAL.map(([{ kind, resource, id }, one]) => ({ kind, resource, id, image: one })),
    )
    const beside = await this.#start('elsewhere', other)
    await this.#put(other, 'dora', { n: 0 })
    await beside.flush()
    this.#mark('what others were told of', other)
    await beside.close()
    renameSync(`${hidden}-unseen`, hidden)
    this.#databases = [...this.#databases, other]
    const dora = other.held.get(nameOf(user('dora')))
    if (dora !== undefined) database.held.set(nameOf(dora), dora)
    this.#mount('here')
    await away.entered
    await away.flush()
    this.#mark('when the rest had come late', database)
  }

  /**
   * Killed with four writes in its journal, of which two files are taken away: in them were the event of the first write, which the
   * next start makes from its intent, and all of the second.
   */
  async #killed(database: VectorDatabase): Promise<void> {
    for (const id of ['eva', 'finn', 'gus', 'hal']) await this.#put(database, id, { padding: PADDING })
    cpSync(`${this.#directory}/disk`, this.restarted, { recursive: true })
    const journal = `${this.restarted}/journal`
    const isLeft = (path: string): boolean => !/door\.|clock$|peers$|answered/.test(path)
    cpSync(`${this.#directory}/journal-here`, journal, { recursive: true, filter: isLeft })
    const [eva, finn] = ['eva', 'finn'].map((id) => fileWith(journal, `"id":"${id}"`))
    if (eva === undefined || finn === undefined || eva === finn) throw new Error('the journal is laid out otherwise')
    rmSync(eva)
    rmSync(finn)
    this.#lost = 'finn'
    // What is made from an intent is stamped when that is done.
    const known = database.states.filter(({ id }) => !['eva', 'finn'].includes(id))
    this.told.push({ label: 'what is known of the time of the loss', moment: this.clock.step(), states: known })
    this.clock.step()
    const source = new VectorDatabase(database.states)
    this.#databases = [...this.#databases, source]
    const store = `file:${this.restarted}/store`
    const tidemark = await Tidemark.capture({ store, source, journal, seal: SEAL, logger: LOGGER }, this.clock)
    await until(async () => (await tidemark.status()).snapshots.length > 1)
    await this.#put(source, 'ida', {})
    await tidemark.flush()
    this.#mark('the end', source)
    await tidemark.close()
  }

  async #start(place: string, source: VectorDatabase): Promise<Tidemark> {
    const journal = { directory: `${this.#directory}/journal-${place}`, limitBytes: 16 * 1024 }
    const store = `file:${this.#directory}/${place}/store`
    const tidemark = await Tidemark.capture({ store, source, journal, seal: SEAL, logger: LOGGER }, this.clock)
    this.clock.step()
    return tidemark
  }

  #mount(place: string): void {
    symlinkSync(`${this.#directory}/disk`, `${this.#directory}/${place}`)
  }

  async #put(database: VectorDatabase, id: string, state: object): Promise<void> {
    this.clock.step()
    await database.write([[user(id), image({ id, ...state })]])
  }

  #mark(label: string, { states }: VectorDatabase): void {
    this.told.push({ label, moment: this.clock.step(), states })
    this.clock.step()
  }
}

/** The journal file that holds a text. */
function fileWith(journal: string, text: string): string | undefined {
  return readdirSync(journal, { recursive: true, encoding: 'utf8' })
    .map((path) => join(journal, path))
    .find((path) => path.endsWith('.journal') && readFileSync(path).includes(text))
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20))
}
