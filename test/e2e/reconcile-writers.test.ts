import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { S3db } from 's3db.js/lite'
import { afterAll, expect, it } from 'vitest'
import { type Finding, type Reconciliation, Tidemark } from '../../src/index.ts'
import { findingKind } from '../../src/model/found.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { createSource } from '../../src/s3db/source.ts'

const directory = mkdtempSync(join(tmpdir(), 'reconcile-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** A process that captures and writes the records `shared-*` and `own-<seed>` for a while. */
async function writer(
  home: string,
  seed: number,
  ms: number,
): Promise<{ child: ChildProcess; done: Promise<{ code: number | null; output: string }> }> {
  const script = join(import.meta.dirname, '../support/shared-writer.ts')
  const args = [
    script,
    `file://${home}/db`,
    `file:${home}/store`,
    `${home}/journal`,
    String(seed),
    String(ms),
    '300',
    '40',
  ]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  let output = ''
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>()
  child.stdout.on('data', (part) => {
    output += part
    if (output.includes('ready')) resolve()
  })
  child.stderr.on('data', (part) => {
    output += part
  })
  const done = new Promise<{ code: number | null; output: string }>((settle) => {
    child.on('close', (code) => {
      reject(new Error(output))
      settle({ code, output })
    })
  })
  await ready
  return { child, done }
}

type Reconcile = (onFinding: (finding: Finding) => void) => Promise<Reconciliation>

async function findingsOf(reconcile: Reconcile): Promise<{ found: string[]; result: Reconciliation }> {
  const found: string[] = []
  const result = await reconcile((one) => void found.push(`${findingKind(one)} ${one.kind} ${one.resource}/${one.id}`))
  return { found: found.sort(), result }
}

it.each(['a reader', 'a process that captures'])(
  '%s tells apart what two others capture and what nobody does, while all of them write',
  { timeout: 120_000 },
  async (who) => {
    const home = join(directory, who.replaceAll(' ', '-'))
    const MS = 14_000
    const writers = [await writer(home, 1, MS), await writer(home, 2, MS)]
    // A database of its own, whose writes nobody captures.
    const script = new S3db({ connectionString: `file://${home}/db`, logLevel: 'silent' })
    await script.connect()
    const db = new S3db({ connectionString: `file://${home}/db`, logLevel: 'silent' })
    await db.connect()
    const plugin = new TidemarkPlugin({
      store: `file:${home}/store`,
      journal: `${home}/journal`,
      logger: pino({ level: 'silent' }),
    })
    const reader = who === 'a reader' ? await Tidemark.open({ store: `file:${home}/store` }) : null
    if (reader === null) await db.usePlugin(plugin)
    const source = createSource(db)
    const look: Reconcile = (onFinding) =>
      reader === null ? plugin.reconcile({ onFinding }) : reader.reconcile({ source, onFinding })
    for (const { child } of writers) child.stdin?.write('go\n')
    let over = false
    const all = Promise.all(writers.map(({ done }) => done)).then((ends) => {
      over = true
      return ends
    })
    const notes = await script.getResource('notes')
    let runs = 0
    let judged = 0
    for (; !over && runs < 4; runs++) {
      const { found, result } = await findingsOf(look)
      expect(found).toEqual([])
      judged += result.same
    }
    // On a busy machine the writers may be done by now; the first comparisons began while they were at it.
    expect(runs).toBeGreaterThan(0)
    await notes.insert({ id: 'around-1', n: 1, by: 'script' })
    await notes.insert({ id: 'around-2', n: 2, by: 'script' })
    await notes.replace('own-1', { n: 99, by: 'script' })
    await notes.deleteMany(['own-2'])
    const seeded = [
      'added record notes/around-1',
      'added record notes/around-2',
      'changed record notes/own-1',
      'removed record notes/own-2',
    ]
    expect((await findingsOf(look)).found).toEqual(seeded)
    for (const { code, output } of await all) expect(code, output).toBe(0)
    expect(judged).toBeGreaterThan(0)
    expect((await findingsOf(look)).found).toEqual(seeded)
    if (reader === null) {
      const emitted: unknown[] = []
      plugin.on('plg:tidemark:finding', (finding) => emitted.push(finding))
      const { found, result } = await findingsOf((onFinding) => plugin.reconcile({ record: true, onFinding }))
      expect(found).toEqual(seeded)
      expect(result).toMatchObject({ added: 2, changed: 1, removed: 1, recorded: 4, undecided: 0 })
      expect(emitted).toHaveLength(4)
      expect((await plugin.status()).findings?.count).toBe(4)
      expect((await findingsOf(look)).found).toEqual([])
    }
    await reader?.close()
    await db.disconnect()
    await script.disconnect()
  },
)
