import { expect, test } from 'vitest'
import type { FrameLog } from '../../src/capture/frame-log.ts'
import { simpleFrame } from '../support/journal-frames.ts'

/** A place for one log: opened again, it gives the same frames, where the implementation survives its closing. */
export interface LogPlace {
  open(): Promise<FrameLog>
}

/** What every `FrameLog` must do. `place` makes an empty place. */
export function frameLogContract(name: string, durable: boolean, place: () => Promise<LogPlace>): void {
  const frames = (from: number, to: number): Uint8Array[] => {
    return Array.from({ length: to - from + 1 }, (_, index) =>
      simpleFrame(from + index, 100 + ((from + index) % 7) * 90),
    )
  }
  const append = async (log: FrameLog, list: readonly Uint8Array[]): Promise<void> => {
    for (const frame of list) await log.append(frame)
  }
  const read = async (log: FrameLog, from: number): Promise<string[]> => {
    const found: string[] = []
    for await (const frame of log.read(from)) found.push(hex(frame))
    return found
  }

  test(`${name}: an empty log has no range and reads nothing`, async () => {
    const log = await (await place()).open()
    expect(log.range).toBe(null)
    expect(await read(log, 1)).toEqual([])
    await log.trim(5)
    expect(log.range).toBe(null)
    await log.close()
  })

  test(`${name}: frames are read as they were appended, from any number on`, async () => {
    const log = await (await place()).open()
    const list = frames(1, 40)
    await append(log, list)
    expect(log.range).toEqual({ first: 1, last: 40 })
    for (const from of [1, 2, 17, 40, 3, 41]) expect(await read(log, from)).toEqual(list.slice(from - 1).map(hex))
    await log.close()
  })

  test(`${name}: the bytes of a frame are the caller's again after the append`, async () => {
    const log = await (await place()).open()
    const frame = simpleFrame(1)
    const reused = Uint8Array.from(frame)
    await log.append(reused)
    reused.fill(0)
    expect(await read(log, 1)).toEqual([hex(frame)])
    await log.close()
  })

  test(`${name}: what is appended apart stays when all before it is trimmed, and nothing of that is left`, async () => {
    const here = await place()
    const log = await here.open()
    const list = [...frames(1, 4), simpleFrame(5, 200, 5), simpleFrame(6, 200, 5)]
    await append(log, list.slice(0, 4))
    log.apart()
    await append(log, list.slice(4))
    expect(await log.trim(5)).toBe(5)
    expect(await read(log, 5)).toEqual(list.slice(4).map(hex))
    await log.close()
    if (!durable) return
    const again = await here.open()
    expect(again.range).toEqual({ first: 5, last: 6 })
    expect(again.missing).toBeNull()
    await again.close()
  })

  test(`${name}: a read leaves out what is appended meanwhile`, async () => {
    const log = await (await place()).open()
    const list = frames(1, 30)
    await append(log, list.slice(0, 20))
    const found: string[] = []
    for await (const frame of log.read(1)) {
      found.push(hex(frame))
      if (found.length === 1) await append(log, list.slice(20))
    }
    expect(found).toEqual(list.slice(0, 20).map(hex))
    expect(await read(log, 21)).toEqual(list.slice(20).map(hex))
    await log.close()
  })

  test(`${name}: trim lets go of old frames, never of one asked for nor of the newest`, async () => {
    const log = await (await place()).open()
    const list = frames(1, 40)
    await append(log, list)
    await log.trim(15)
    expect(log.range?.first).toBeLessThanOrEqual(15)
    expect(log.range?.first).toBeGreaterThan(1)
    expect(await read(log, 15)).toEqual(list.slice(14).map(hex))
    await log.trim(1000)
    expect(log.range?.last).toBe(40)
    expect(await read(log, 40)).toEqual(list.slice(39).map(hex))
    await append(log, [simpleFrame(41)])
    expect(await read(log, 40)).toEqual([hex(frameAt(list, 39)), hex(simpleFrame(41))])
    await log.close()
  })

  test(`${name}: frames of several MiB pass`, async () => {
    const log = await (await place()).open()
    const list = [simpleFrame(1), simpleFrame(2, 3 * 1024 * 1024), simpleFrame(3)]
    await append(log, list)
    expect(await read(log, 1)).toEqual(list.map(hex))
    await log.close()
  })

  if (!durable) return

  test(`${name}: a log that is opened again has the same frames and goes on`, async () => {
    const home = await place()
    const list = frames(1, 40)
    for (const [from, to] of [
      [0, 1],
      [1, 13],
      [13, 13],
      [13, 40],
    ] as const) {
      const log = await home.open()
      expect(await read(log, 1)).toEqual(list.slice(0, from).map(hex))
      await append(log, list.slice(from, to))
      await log.close()
    }
    const log = await home.open()
    expect(log.range).toEqual({ first: 1, last: 40 })
    expect(await read(log, 1)).toEqual(list.map(hex))
    await log.close()
  })

  test(`${name}: what the newest frame says is not needed may be gone at the next opening, the rest may not`, async () => {
    const home = await place()
    const log = await home.open()
    const list = [...frames(1, 39), simpleFrame(40, 100, 25)]
    await append(log, list)
    await log.trim(25)
    await log.close()
    const again = await home.open()
    expect(again.range).toEqual({ first: 25, last: 40 })
    expect(await read(again, 25)).toEqual(list.slice(24).map(hex))
    await again.close()
  })
}

function frameAt(list: readonly Uint8Array[], index: number): Uint8Array {
  return list[index] ?? new Uint8Array()
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
