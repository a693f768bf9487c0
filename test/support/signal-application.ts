import { S3db } from 's3db.js/lite'
import { TidemarkPlugin, type TidemarkPluginOptions } from '../../src/s3db/plugin.ts'

/** What the application of `signal-application.ts` is like. */
export interface ApplicationSpec {
  readonly database: string
  /** Null: without a backup, to compare with. */
  readonly tidemark: TidemarkPluginOptions | null
  readonly wiring: 'constructor' | 'usePlugin'
  /**
   * `none`: s3db.js ends the process. `disconnect`: the application has a handler of its own, which disconnects and exits with 3.
   * `drain`: as that, and it is told to s3db.js, so that requests under way are finished first. `exit`: it exits at
   * once. `reconnected`: as `none`, after the database was disconnected and connected again.
   */
  readonly handler: 'none' | 'disconnect' | 'drain' | 'exit' | 'reconnected'
  /** `signal`: writes until a signal comes. `idle`: ends with nothing left to do. `throw`: an error that nobody catches. */
  readonly end: 'signal' | 'idle' | 'throw'
}

/*
 * An application that is stopped. Says on stdout, one line each:
 *   ready <id>    after its start
 *   W <id>        the write of this record was acknowledged
 *   D <id>        as that, of a write that it does while it drains
 * usage: signal-application.ts <ApplicationSpec as JSON>
 */
async function main(spec: ApplicationSpec): Promise<void> {
  const { database, tidemark, wiring, handler, end } = spec
  const plugin = tidemark === null ? null : new TidemarkPlugin(tidemark)
  const plugins = plugin === null || wiring === 'usePlugin' ? [] : [plugin as never]
  const exitOnSignal = handler !== 'drain' && handler !== 'exit'
  const db = new S3db({ connectionString: database, logLevel: 'silent', plugins, exitOnSignal })
  await db.connect()
  if (plugin !== null && wiring === 'usePlugin') await db.usePlugin(plugin)
  if (handler === 'reconnected') {
    await db.disconnect()
    await db.connect()
  }
  await plugin?.reachable('latest') // waits for the first baseline, without which nothing can be restored
  const notes =
    db.resources.notes ?? (await db.createResource({ name: 'notes', attributes: { id: 'string|optional' } }))
  let isOver = false
  let n = 0
  const write = async (letter: string): Promise<void> => {
    const id = `${process.pid}-${++n}`
    await new Promise((resolve) => setImmediate(resolve)) // a database in memory leaves no room for signals
    await notes.insert({ id })
    console.log(`${letter} ${id}`)
  }
  const stop = async (): Promise<void> => {
    isOver = true
    if (handler === 'exit') process.exit(3)
    if (handler === 'drain') for (let i = 0; i < 20; i++) await write('D')
    await db.disconnect()
    process.exit(3)
  }
  if (handler !== 'none' && handler !== 'reconnected') {
    process.once('SIGTERM', stop)
    process.once('SIGINT', stop)
  }
  console.log(`ready ${process.pid}`)
  const most = end === 'signal' ? Number.POSITIVE_INFINITY : 20
  for (let i = 0; i < most && !isOver; i++) await write('W').catch(refused)
  if (end === 'throw') setImmediate(() => fail())
}

/** A write that comes after the end of the capture. */
async function refused(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 5))
}

function fail(): never {
  throw new Error('an error that nobody catches')
}

const [given] = process.argv.slice(2)
if (given !== undefined) await main(JSON.parse(given))
