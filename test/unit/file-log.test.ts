import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openFileLog } from '../../src/capture/file-log.ts'
import type { FrameLog } from '../../src/capture/frame-log.ts'
import { journalError, NodeDisk } from '../../src/capture/node-disk.ts'
import { STREAM, simpleFrame } from '../support/journal-frames.ts'
import { type DiskWeather, fairWeather, random, SimulatedDisk } from '../support/simulated-disk.ts'

const FILES = { directory: 'journal', stream: STREAM, maxFileBytes: 2048 }
const COUNT = 15
const frames = Array.from({ length: COUNT }, (_, index) => simpleFrame(index + 1, 60 + index * 23))

async function written(): Promise<Map<string, Buffer>> {
  const disk = new SimulatedDisk({ seed: 1 })
  const log = await openFileLog({ ...FILES, disk })
  for (const frame of frames) await log.append(frame)
  await log.close()
  return disk.contents()
}

async function readAll(log: FrameLog): Promise<Buffer[]> {
  const found: Buffer[] = []
  for await (const frame of log.read(1)) found.push(Buffer.from(frame))
  return found
}

test('any changed byte is an error, or is cut where it stands in the last frame or behind it; never a wrong frame', async () => {
  const files = await written()
  const names = [...files.keys()].sort()
  expect(names.length).toBeGreaterThan(2)
  const next = random(7)
  const seen = { corrupt: 0, cut: 0, harmless: 0 }
  for (let round = 0; round < 1500; round++) {
    const name = names[Math.floor(next() * names.length)] ?? ''
    const content = Buffer.from(files.get(name) ?? [])
    const at = Math.floor(next() * content.length)
    content[at] = (content[at] ?? 0) ^ (1 << Math.floor(next() * 8))
    const disk = new SimulatedDisk({ seed: round }, new Map([...files, [name, content]]))
    try {
      const log = await openFileLog({ ...FILES, disk })
      const found = await readAll(log)
      expect(found.length).toBeGreaterThanOrEqual(COUNT - 1)
      for (const [index, frame] of found.entries()) expect(frame.equals(frames[index] ?? Buffer.alloc(0))).toBe(true)
      if (found.length < COUNT) seen.cut++
      else seen.harmless++
      // It goes on with the number that follows.
      await log.append(simpleFrame(found.length + 1))
      await log.close()
    } catch (error) {
      expect(error).toMatchObject({ code: 'JOURNAL_CORRUPT', category: 'corrupt' })
      seen.corrupt++
    }
  }
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(20)
})

test('a torn end is zeroed before anything is appended', async () => {
  const files = await written()
  const newest = Buffer.from(frames[COUNT - 1] ?? [])
  const last = [...files.keys()].find((name) => files.get(name)?.includes(newest)) ?? ''
  const content = files.get(last) ?? Buffer.alloc(0)
  const end = content.indexOf(newest) + newest.length
  const torn = Buffer.concat([
    content.subarray(0, end),
    simpleFrame(COUNT + 1, 300).subarray(0, 200),
    Buffer.alloc(512),
  ])
  const disk = new SimulatedDisk({ seed: 1 }, new Map([...files, [last, torn]]))
  const log = await openFileLog({ ...FILES, disk })
  expect(log.range).toEqual({ first: 1, last: COUNT })
  expect(
    disk
      .contents()
      .get(last)
      ?.subarray(end)
      .every((byte) => byte === 0),
  ).toBe(true)
  await log.close()
})

test('a file that was taken away is told at every opening, wherever it was, and what is in the others is read', async () => {
  const files = await written()
  const names = [...files.keys()].filter((name) => name.endsWith('.journal')).sort()
  for (const [at, name] of names.slice(0, -1).entries()) {
    const without = new Map([...files].filter(([other]) => other !== name))
    let disk = new SimulatedDisk({ seed: 1 }, without)
    for (let opening = 0; opening < 2; opening++) {
      const log = await openFileLog({ ...FILES, disk })
      const which = at === 0 ? 'before 2' : `${at + 1}`
      expect(log.missing).toBe(`journal files are missing: ${which}`)
      const kept = frames.filter((frame) =>
        [...without.values()].some((content) => content.includes(Buffer.from(frame))),
      )
      const read = await readAll(log)
      expect(read.slice(0, kept.length).map((frame) => frame.toString('hex'))).toEqual(
        kept.map((frame) => Buffer.from(frame).toString('hex')),
      )
      // It goes on behind what is there, in a file with a number of its own.
      await log.append(simpleFrame((log.range?.last ?? 0) + 1))
      await log.close()
      disk = new SimulatedDisk({ seed: 1 }, disk.contents())
    }
    expect(disk.contents().has(name)).toBe(false)
  }
})

test('a swapped file, a missing frame in the middle and the files of another stream are corrupt', async () => {
  const files = await written()
  const names = [...files.keys()].sort()
  const middle = names[1] ?? ''
  const swapped = new Map([...files, [middle, files.get(names[0] ?? '') ?? Buffer.alloc(0)]])
  const zeroed = new Map([...files, [middle, Buffer.alloc(files.get(middle)?.length ?? 0)]])
  for (const damaged of [swapped, zeroed]) {
    const opening = openFileLog({ ...FILES, disk: new SimulatedDisk({ seed: 1 }, damaged) })
    await expect(opening).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT' })
  }
  const foreign = { ...FILES, disk: new SimulatedDisk({ seed: 1 }, files), stream: '01KAJ0QZX3N5V7E8T9RYBWDCFH' }
  await expect(openFileLog(foreign)).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT' })
})

test('maxFileBytes bounds what is made ahead; by default files grow from 1 MiB', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-files-'))
  try {
    const small = await openFileLog({ disk: new NodeDisk(), directory, stream: STREAM, maxFileBytes: 8192 })
    await small.append(simpleFrame(1))
    await small.close()
    expect((await stat(join(directory, '00000001.journal'))).size).toBe(8192)
    expect((await stat(join(directory, '00000001.journal'))).mode & 0o777).toBe(0o600)
    await rm(join(directory, '00000001.journal'))
    const usual = await openFileLog({ disk: new NodeDisk(), directory, stream: STREAM })
    await usual.append(simpleFrame(1, 400_000))
    await usual.close()
    expect((await stat(join(directory, '00000001.journal'))).size).toBe(1024 * 1024)
    expect((await stat(join(directory, '00000002.journal'))).size).toBe(2 * 1024 * 1024)
  } finally {
    await rm(directory, { recursive: true })
  }
})

test('what the machine refuses has a code and a hint', async () => {
  const failed = (code: string): Error => Object.assign(new Error(code), { code })
  expect(journalError(failed('ENOSPC'), '/j')).toMatchObject({ code: 'JOURNAL_FULL', status: 507 })
  expect(journalError(failed('EDQUOT'), '/j')).toMatchObject({ code: 'JOURNAL_FULL' })
  expect(journalError(failed('EROFS'), '/j')).toMatchObject({ code: 'JOURNAL_DENIED', status: 403 })
  expect(journalError(failed('EIO'), '/j')).toMatchObject({ code: 'JOURNAL_FAILED', retriable: false })
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-full-'))
  try {
    await writeFile(join(directory, 'file'), '')
    await expect(new NodeDisk().list(join(directory, 'file'))).rejects.toMatchObject({ code: 'JOURNAL_DENIED' })
    if (process.platform === 'linux') {
      const full = await new NodeDisk().open('/dev/full')
      await expect(full.commit(Buffer.alloc(10), 0)).rejects.toMatchObject({ code: 'JOURNAL_FULL' })
      await expect(full.commit(Buffer.alloc(200_000), 0)).rejects.toMatchObject({ code: 'JOURNAL_FULL' })
      await full.close()
    }
  } finally {
    await rm(directory, { recursive: true })
  }
})

/** A log on a disk whose weather the test makes; what it has on the disk after a power cut is read by a second one. */
async function openInWeather(): Promise<{ log: FrameLog; disk: SimulatedDisk; weather: DiskWeather }> {
  const weather = fairWeather()
  const disk = new SimulatedDisk({ seed: 1, weather })
  return { log: await openFileLog({ ...FILES, disk }), disk, weather }
}

async function afterPowerCut(disk: SimulatedDisk): Promise<string[]> {
  const log = await openFileLog({ ...FILES, disk: new SimulatedDisk({ seed: 1 }, disk.powerOff()) })
  expect(log.missing).toBe(null)
  return (await readAll(log)).map((frame) => frame.toString('hex'))
}

const hex = (list: readonly Uint8Array[]): string[] => list.map((frame) => Buffer.from(frame).toString('hex'))

test('a file is written no more once a sync of it has failed: the frame goes into another file, and is there once', async () => {
  for (const failsAt of frames.keys()) {
    const { log, disk, weather } = await openInWeather()
    for (const [index, frame] of frames.entries()) {
      weather.failsSync = () => index === failsAt
      if (index === failsAt) await expect(log.append(frame)).rejects.toMatchObject({ code: 'JOURNAL_FAILED' })
      weather.failsSync = () => false
      await new Promise((resolve) => setImmediate(resolve)) // the file that is being made ahead fails too
      await log.append(frame)
    }
    expect(hex(await readAll(log))).toEqual(hex(frames))
    expect(await afterPowerCut(disk)).toEqual(hex(frames))
  }
})

test('a frame that is said to outlive the process is found after a kill, and may be gone with the machine', async () => {
  const { log, disk } = await openInWeather()
  const [first, second] = frames
  if (first === undefined || second === undefined) throw new Error('there are frames')
  let said = 0
  // A file that does not take its first frame is removed: that frame is safe only with the sync.
  await log.append(first, () => said++)
  expect(said).toBe(0)
  let found: Buffer[] = []
  const points = disk.points
  const written = async (): Promise<void> => {
    said++
    found = await readAll(await openFileLog({ ...FILES, disk: new SimulatedDisk({ seed: 2 }, disk.contents()) }))
  }
  let reading = Promise.resolve()
  disk.cutAfter(1) // at the sync, behind the write
  const appended = log.append(second, () => {
    reading = written()
  })
  await expect(appended).rejects.toThrow('power cut')
  await reading
  expect(disk.points).toBeGreaterThan(points)
  expect(said).toBe(1)
  expect(hex(found)).toEqual(hex([first, second]))
})

test('what follows a failed sync may be another frame of the same number, and it alone counts', async () => {
  for (const failsAt of frames.keys()) {
    const { log, disk, weather } = await openInWeather()
    const other = simpleFrame(failsAt + 1, 33)
    for (const [index, frame] of frames.entries()) {
      weather.failsSync = () => index === failsAt
      if (index === failsAt) await expect(log.append(frame)).rejects.toMatchObject({ code: 'JOURNAL_FAILED' })
      weather.failsSync = () => false
      await new Promise((resolve) => setImmediate(resolve)) // the file that is being made ahead fails too
      await log.append(index === failsAt ? other : frame)
    }
    const expected = hex(frames.map((frame, index) => (index === failsAt ? other : frame)))
    // Not only after a power cut, which keeps what was not synced or does not, but for who finds it all.
    const found = await openFileLog({ ...FILES, disk: new SimulatedDisk({ seed: 2 }, disk.contents()) })
    expect(hex(await readAll(found))).toEqual(expected)
    expect(await afterPowerCut(disk)).toEqual(expected)
  }
})

test('a power cut while the frame is tried again leaves it once, or not at all', async () => {
  // Longer than a sector, so that the power may tear it behind the header of its file.
  const again = simpleFrame(4, 1500)
  let isOver = false
  for (let seed = 0; !isOver; seed++) {
    const cutAt = Math.floor(seed / 200)
    const weather = fairWeather()
    const disk = new SimulatedDisk({ seed, weather })
    const log = await openFileLog({ ...FILES, disk })
    for (const frame of frames.slice(0, 3)) await log.append(frame)
    weather.failsSync = () => true
    await expect(log.append(frames[3] ?? new Uint8Array())).rejects.toMatchObject({ code: 'JOURNAL_FAILED' })
    weather.failsSync = () => false
    disk.cutAfter(cutAt)
    const isDone = await log.append(again).then(
      () => true,
      () => false,
    )
    const found = await afterPowerCut(disk)
    expect(found.slice(0, 3)).toEqual(hex(frames.slice(0, 3)))
    const either = [hex([again]), ...(isDone ? [] : [[], hex(frames.slice(3, 4))])]
    expect(either).toContainEqual(found.slice(3))
    isOver = isDone
  }
})

test('a full disk is told before the present file is: what is left of it is for what was begun', async () => {
  const { log, disk, weather } = await openInWeather()
  const [first = new Uint8Array()] = frames
  await log.append(first)
  expect(log.room?.shortage).toBe(null)
  weather.capacity = 2048 + 500
  let count = 1
  while (log.room?.shortage === null) await log.append(simpleFrame(++count, 150))
  expect(log.room?.shortage).toMatchObject({ code: 'JOURNAL_FULL' })
  // Of the file that could not be made nothing is left, so that others have the room.
  expect([...disk.contents().keys()].filter((name) => name.endsWith('.journal'))).toEqual(['journal/00000001.journal'])
  await log.append(simpleFrame(++count, 150))
  // A frame for which there is no room harms nothing, and a small one still finds some.
  await expect(log.append(simpleFrame(count + 1, 4000))).rejects.toMatchObject({ code: 'JOURNAL_FULL' })
  await log.append(simpleFrame(++count))
  await log.room?.prepare()
  expect(log.room?.shortage).toMatchObject({ code: 'JOURNAL_FULL' })
  weather.capacity = Number.POSITIVE_INFINITY
  await log.room?.prepare()
  expect(log.room?.shortage).toBe(null)
  await log.append(simpleFrame(++count, 4000))
  expect((await readAll(log)).length).toBe(count)
  expect((await afterPowerCut(disk)).length).toBe(count)
})

test('where there is no room for a file of the usual size, a smaller one is made', async () => {
  const weather = fairWeather()
  const disk = new SimulatedDisk({ seed: 1, weather })
  weather.capacity = 1024 * 1024 + 300 * 1024
  const log = await openFileLog({ disk, directory: 'journal', stream: STREAM })
  await log.append(simpleFrame(1, 400_000))
  await log.close()
  expect(log.room?.shortage).toBe(null)
  expect(disk.contents().get('journal/00000002.journal')?.length).toBe(256 * 1024)
})

test('behind a frame that is larger than its file there is a reserve: a small one that lets others go finds room on a full disk', async () => {
  const { log, disk, weather } = await openInWeather()
  const frames = [simpleFrame(1), simpleFrame(2, 9000), simpleFrame(3)]
  for (const frame of frames.slice(0, 2)) await log.append(frame)
  weather.capacity = 0
  await expect(log.append(simpleFrame(3, 9000))).rejects.toMatchObject({ code: 'JOURNAL_FULL' })
  await log.append(frames[2] ?? new Uint8Array())
  expect(await afterPowerCut(disk)).toEqual(frames.map((frame) => Buffer.from(frame).toString('hex')))
})
