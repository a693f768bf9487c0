import { Worker } from 'node:worker_threads'
import { failureOf, type ThreadFailure, toldError } from '../../base/thread-failure.ts'
import type { ByteRange, ObjectStore } from '../../store/object-store.ts'
import type { RunRequest, WrittenRun } from './write-run.ts'

/** What the thread asks of the store, or tells. */
export type FromMerge =
  | { readonly get: number; readonly key: string; readonly range: ByteRange | null }
  | { readonly put: number; readonly key: string; readonly bytes: Uint8Array }
  | { readonly file: number; readonly key: string }
  | { readonly written: WrittenRun }
  | { readonly failure: ThreadFailure }

/** What it is given: first the request, then an answer for each number. */
export type ToMerge =
  | { readonly request: RunRequest }
  | { readonly answer: number; readonly bytes?: Uint8Array; readonly failure?: ThreadFailure }

/**
 * `writeRun` in a thread of its own, so that the application is not held up: what is read and written goes through this one.
 * Rejects also where the thread cannot be started, or ends before. `file` is the worker's.
 */
export async function writeRunApart(
  store: ObjectStore,
  request: RunRequest,
  onFile: (key: string) => void,
  file: URL = workerFile(),
): Promise<WrittenRun> {
  const worker = new Worker(file)
  try {
    return await new Promise((resolve, reject) => {
      const tell = (message: ToMerge): void => worker.postMessage(message)
      const answer = (number: number, act: () => Promise<Uint8Array | undefined>): void => {
        act().then(
          (bytes) => tell(bytes === undefined ? { answer: number } : { answer: number, bytes }),
          (error: unknown) => tell({ answer: number, failure: failureOf(error) }),
        )
      }
      worker.on('message', (message: FromMerge) => {
        if ('written' in message) resolve(message.written)
        else if ('failure' in message) reject(toldError(message.failure))
        else if ('get' in message) answer(message.get, () => store.get(message.key, message.range ?? undefined))
        else if ('put' in message)
          answer(message.put, async () => {
            await store.put(message.key, message.bytes, { ifAbsent: true })
            return undefined
          })
        else
          answer(message.file, async () => {
            onFile(message.key)
            return undefined
          })
      })
      worker.on('error', reject)
      worker.on('exit', () => reject(new Error('the merging thread ended')))
      tell({ request })
    })
  } finally {
    await worker.terminate()
  }
}

/** The file beside this one, with the same ending: source or compiled. */
function workerFile(): URL {
  const here: string = import.meta.url
  return new URL(`./merge-worker${here.endsWith('.ts') ? '.ts' : '.js'}`, here)
}
