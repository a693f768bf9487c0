import { CronManager } from 's3db.js/concerns/cron-manager'
import { ProcessManager } from 's3db.js/concerns/process-manager'
import type { S3db } from 's3db.js/lite'
import { systemClock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'

/** What the end of the process is held back for. */
export interface Ending {
  /** Ends the capture with everything in the store. */
  readonly end: () => Promise<void>
  /** How long the process may be held back for it, milliseconds. */
  readonly limitMs: number
  readonly log: Logger
}

/** Of every database of this process that is captured: whichever is first to exit would take the others along. */
const endings = new Set<Ending>()
let ending: Promise<unknown> | null = null
let letGo = (): void => {}

/**
 * Managers of processes and of cron jobs make s3db.js exit on SIGTERM, SIGINT, an error that nobody caught, and when
 * nothing is left to do: each at once, whatever is still under way. From now on all of them wait until what is captured
 * is in the store, and then do what they would have done, with the same exit code.
 *
 * All of this process: every database has two, also one that is not captured, and the clients of files share one more.
 * Not `registerCleanup`: the managers of cron jobs know nothing of it, and exit first.
 */
export function holdExit(one: Ending): () => void {
  if (endings.size === 0) letGo = holdManagers()
  endings.add(one)
  return () => {
    if (endings.delete(one) && endings.size === 0) letGo()
  }
}

function holdManagers(): () => void {
  const managers = ProcessManager.prototype
  const crons = CronManager.prototype
  const original = { managers: managers.shutdown, crons: crons.shutdown }
  managers.shutdown = async function (this: ProcessManager, options): Promise<void> {
    if (exitsOnSignal(this)) await endAll()
    await original.managers.call(this, options)
  }
  crons.shutdown = async function (this: CronManager, options): Promise<void> {
    // disconnect() ends the cron jobs too, and gives no reason; it must not wait for itself.
    const isExit = options?.signal !== undefined || options?.error !== undefined
    if (isExit && exitsOnSignal(this)) await endAll()
    await original.crons.call(this, options)
  }
  return () => {
    managers.shutdown = original.managers
    crons.shutdown = original.crons
  }
}

/**
 * Whether s3db.js ends the process on a signal to this database. Where it was told not to (`exitOnSignal: false`), the
 * application ends itself, with `disconnect()`.
 */
export function isEndedByS3db({ processManager, cronManager }: S3db): boolean {
  return exitsOnSignal(processManager) || exitsOnSignal(cronManager)
}

/** Ends every capture of this process, each within its time. Never rejects. */
function endAll(): Promise<unknown> {
  ending ??= Promise.all([...endings].map(endWithin)).finally(() => {
    ending = null
  })
  return ending
}

async function endWithin({ end, limitMs, log }: Ending): Promise<void> {
  const ended = end().then(
    () => true,
    (error: unknown) => {
      log.error({ error: messageOf(error) }, 'The process ends, and its capture could not be closed.')
      return true
    },
  )
  // What is not in the store in time, the capture itself has told; this is for what hangs around it. It keeps the
  // process alive for so long, which a closing that waits for nothing but a timer does not.
  const isEnded = await Promise.race([ended, systemClock.sleep(limitMs + GRACE_MS).then(() => false)])
  if (!isEnded) log.error({ limitMs }, 'The process ends, although its database has not disconnected in time.')
}

/** Between the limit of the capture and that of everything around it, milliseconds. */
const GRACE_MS = 1_000

/** s3db.js keeps what a manager was told to itself. */
function exitsOnSignal(manager: object): boolean {
  const options: unknown = Reflect.get(manager, 'options')
  const isTold = typeof options === 'object' && options !== null && 'exitOnSignal' in options
  return !isTold || options.exitOnSignal !== false
}
