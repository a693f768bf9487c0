import { type DiskWeather, fairWeather } from './simulated-disk.ts'
import { Inode } from './simulated-inode.ts'
import type { SimulatedProcess } from './simulated-process.ts'

const TURNS = 5
/** Bytes that are free, at most, while the disk is full: less than a file of the journal has. */
const FREE = 4000

/** A disk that is full or fails now and then while others write, from a seed, and is well in between. */
export class Storm {
  readonly weather: DiskWeather = fairWeather()
  readonly #next: () => number
  readonly #tally: (what: string) => void

  constructor(next: () => number, tally: (what: string) => void) {
    this.#next = next
    this.#tally = tally
  }

  /** Goes on until the writes are done, each refused or acknowledged; those that wait for room get it in the end. */
  async during(process: SimulatedProcess, writes: Promise<unknown>): Promise<void> {
    let isOver = false
    const over = (): void => {
      isOver = true
    }
    writes.then(over, over)
    while (!isOver) {
      this.#change(process)
      for (let turn = 0; turn < TURNS && !isOver; turn++) await new Promise((resolve) => setImmediate(resolve))
      if (this.#next() < 0.3) await process.makeRoom()
      if (this.#next() < 0.2 && !isOver) await process.seal()
    }
    this.clear()
    await process.makeRoom()
    await writes
  }

  /** A write was refused. */
  refused(): void {
    this.#tally('refused')
  }

  clear(): void {
    Object.assign(this.weather, fairWeather())
  }

  #change({ tree }: SimulatedProcess): void {
    const step = this.#next()
    this.clear()
    if (step < 0.4) {
      const used = [...tree.names('/journal').values()].map((node) =>
        node instanceof Inode ? node.current().length : 0,
      )
      this.weather.capacity = used.reduce((sum, bytes) => sum + bytes, 0) + Math.floor(this.#next() * FREE)
      this.#tally('full disks')
    } else if (step < 0.6) {
      this.weather.failsSync = () => {
        if (this.#next() > 0.3) return false
        this.#tally('failed syncs')
        return true
      }
    }
  }
}
