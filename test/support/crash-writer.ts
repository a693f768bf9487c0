import { existsSync, readFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { S3db } from 's3db.js/lite'
import type { Image } from '../../src/model/event.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { essential, type StoredBytes } from './s3db.ts'
import { describeBytes } from './storage-log.ts'
import { storedState } from './stored-state.ts'
import { randomFrom } from './workload.ts'

/*
 * A process that writes to a database under capture until it is killed. It says on stdout, one line each:
 *   checked <events>     after start: the history has every write that the runs before were told is done, and the
 *                        state at `latest` is what the files of the database hold
 *   W <resource> <id> <n>    a write with the number n was acknowledged
 *   D <resource> <id>        a delete was acknowledged
 * usage: crash-writer.ts <directory> <seed> <file of acknowledged lines> [stop]
 */
const [directory = '', seed = '1', acknowledged = '', stop] = process.argv.slice(2)
process.prependListener('uncaughtException', (error) => {
  console.error(error)
  process.exit(9)
})

const root = join(directory, 'db')
const db = new S3db({ connectionString: `file://${root}`, logLevel: 'silent' })
await db.connect()
const tidemark = new TidemarkPlugin({
  store: `file:${directory}/store`,
  journal: join(directory, 'journal'),
  seal: { events: 40, ageMs: 60 },
})
await db.usePlugin(tidemark)
const RESOURCES = ['notes', 'files'] as const
for (const name of RESOURCES) {
  if (db.resources[name] !== undefined) continue
  await db.createResource({
    name,
    attributes: { id: 'string|optional', n: 'number', text: 'string|optional' },
    behavior: name === 'notes' ? 'body-only' : 'user-managed',
    paranoid: false,
  })
}
await check()
if (stop === 'stop') await db.disconnect()
else await Promise.all(Array.from({ length: 8 }, (_, lane) => write(lane)))

/** What the files of the database hold, as far as s3db.js would read it: without half-written ones. */
async function stored(): Promise<Map<string, string>> {
  const found = new Map<string, StoredBytes>()
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const half =
      !entry.isFile() || path.endsWith('.meta.json') || path.includes('.tmp.') || !existsSync(`${path}.meta.json`)
    if (half) continue
    const { metadata, contentType } = JSON.parse(await readFile(`${path}.meta.json`, 'utf8'))
    found.set(relative(root, path), { body: await readFile(path), metadata, contentType })
  }
  found.delete('s3db.json')
  return new Map([...essential(found)].map(([key, bytes]) => [key, describeBytes(bytes)]))
}

async function check(): Promise<void> {
  const images = new Map<string, Image>()
  for await (const { kind, resource, id, image } of tidemark.at('latest').states()) {
    images.set(JSON.stringify([kind, resource, id]), image)
  }
  const state = new Map([...storedState(images)].map(([key, bytes]) => [key, describeBytes(bytes)]))
  const held = await stored()
  for (const key of new Set([...state.keys(), ...held.keys()])) {
    if (state.get(key) === held.get(key)) continue
    throw new Error(`${key}: the history says ${state.get(key)}, the database holds ${held.get(key)}`)
  }
  const wanted = new Map<string, { numbers: Set<number>; deletes: number }>()
  for (const line of readFileSync(acknowledged, 'utf8').split('\n')) {
    const [what, resource, id, n] = line.split(' ')
    if (resource === undefined || id === undefined) continue
    const key = `${resource} ${id}`
    const one = wanted.get(key) ?? { numbers: new Set(), deletes: 0 }
    wanted.set(key, one)
    if (what === 'W') one.numbers.add(Number(n))
    else one.deletes++
  }
  let events = 0
  for (const [key, { numbers, deletes }] of wanted) {
    const [resource = '', id = ''] = key.split(' ')
    let deleted = 0
    let last = 'first'
    for await (const event of tidemark.history(resource, id)) {
      events++
      const before = event.before === null ? '-' : Buffer.from(event.before.raw ?? []).toString('base64')
      if (last !== 'first' && before !== last) throw new Error(`${key}: the chain is broken at ${event.stamp.ulid}`)
      last = event.after === null ? '-' : Buffer.from(event.after.raw ?? []).toString('base64')
      if (event.after === null) deleted++
      else numbers.delete(JSON.parse(Buffer.from(event.after.json).toString('utf8')).n)
    }
    if (numbers.size > 0) throw new Error(`${key}: acknowledged, and not in the history: ${[...numbers]}`)
    if (deleted < deletes) throw new Error(`${key}: ${deletes} deletes were acknowledged, the history has ${deleted}`)
  }
  console.log(`checked ${events}`)
}

/** Writes for ever; the records of a lane are its own, so that it knows which exist. */
async function write(lane: number): Promise<void> {
  const random = randomFrom(Number(seed) * 100 + lane)
  for (let i = 0; ; i++) {
    const name = RESOURCES[random() < 0.5 ? 0 : 1] ?? 'notes'
    const resource = await db.getResource(name)
    const id = `r${lane}-${Math.floor(random() * 4)}`
    const n = Number(seed) * 1_000_000 + lane * 100_000 + i
    const values = { n, text: random() < 0.2 ? 'long '.repeat(100) : 'short' }
    const choice = random()
    try {
      if (!(await resource.exists(id))) await resource.insert({ id, ...values })
      else if (choice < 0.2) {
        await resource.delete(id)
        console.log(`D ${name} ${id}`)
        continue
      } else if (choice < 0.5) await resource.update(id, values)
      else if (choice < 0.75) await resource.patch(id, values)
      else await resource.replace(id, values)
      console.log(`W ${name} ${id} ${n}`)
    } catch (error) {
      // A file that a kill left half written: s3db.js cannot read the record any more. It is replaced.
      await resource.deleteMany([id]).catch(() => undefined)
      if (i > 10_000) throw error
    }
  }
}
