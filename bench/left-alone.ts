import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { Tidemark } from '../src/engine/tidemark.ts'
import { upkeepOf } from '../src/engine/upkeep.ts'
import { FilesystemStore } from '../src/store/filesystem.ts'
import { SetClock } from '../test/support/kept-history.ts'
import { CountingStore } from '../test/support/stores.ts'
import { numberFlag } from './lib/options.ts'
import { storedIn } from './lib/stored.ts'
import { inTemporaryDirectory, mustBe } from './lib/timing.ts'

/*
 * node bench/left-alone.ts <store directory> [--days 365]: a copy of a store that nobody writes to, such as the demo leaves, for so
 * many days by a clock of its own. Each day segments are merged, what no promise needs is pruned, and old generations go, as
 * commands that are run once a day do it. What is in the store, and what a day costs, must not grow.
 */
const DAY = 86_400_000
const POLICY = { window: '30d', gfs: { daily: 30, weekly: 8, monthly: 12, timeZone: 'UTC' } }

class LeftAlone {
  readonly #store: CountingStore
  readonly #clock = new SetClock()

  constructor(place: string) {
    this.#store = new CountingStore(new FilesystemStore(place))
  }

  async run(days: number): Promise<void> {
    const begin = Date.now()
    const before = await this.#states()
    for (let day = 0; day <= days; day++) {
      this.#clock.set(begin + day * DAY)
      this.#store.reset()
      if (day > 0) await this.#keep()
      if ([0, 1, 2, 7, 30, 90, 180, 270, 365].includes(day) || day === days) await this.#tell(day)
    }
    mustBe((await this.#states()) === before, 'the last state is what it was')
  }

  async #keep(): Promise<void> {
    const spec = { url: 'bench://store', objects: this.#store }
    const tidemark = await Tidemark.open({ store: spec }, this.#clock)
    await tidemark.compact()
    await tidemark.retention.prune({ policy: POLICY, confirm: true })
    await tidemark.close()
    await upkeepOf(spec)
  }

  async #states(): Promise<string> {
    const tidemark = await Tidemark.open({ store: { url: 'bench://store', objects: this.#store } }, this.#clock)
    const lines: string[] = []
    for await (const { kind, resource, id, image } of tidemark.at('latest').states())
      lines.push(`${kind} ${resource} ${id} ${Buffer.from(image.json).toString()}`)
    await tidemark.close()
    return lines.join('\n')
  }

  async #tell(day: number): Promise<void> {
    const { put, get, head, list, delete: deleted } = this.#store.calls
    const { bytes, files } = await storedIn(this.#store)
    console.log(
      `day ${day}: ${(bytes / 1e3).toFixed(0)} KB in ${files}; that day ${put} puts, ${get + head} gets and heads, ${list} lists, ${deleted} deletes`,
    )
  }
}

const [, , from = ''] = process.argv
await inTemporaryDirectory(async (directory) => {
  const place = join(directory, 'store')
  cpSync(from, place, { recursive: true })
  await new LeftAlone(place).run(numberFlag('--days', 365))
})
