import { parentPort, workerData } from 'node:worker_threads'
import { ownBuffer } from '../../base/bytes.ts'
import { collectBuffers, collectLeft, collectObjects } from '../../base/collect-buffers.ts'
import { failureOf, toldError } from '../../base/thread-failure.ts'
import type { FromMerge, MergeSettings, ToMerge } from './merge-thread.ts'
import { type RunStore, writeRun } from './write-run.ts'

/** Of the memory of a run, what may be garbage beside it. */
const GARBAGE_PART = 16

const { collectsBuffers }: MergeSettings = workerData
if (collectsBuffers) collectBuffers()

const waiting = new Map<number, PromiseWithResolvers<Uint8Array>>()
let last = 0

function tell(message: FromMerge): void {
  const buffer = 'put' in message ? message.bytes.buffer : null
  parentPort?.postMessage(message, buffer instanceof ArrayBuffer ? [buffer] : [])
}

/** Asks the thread of the application; no bytes where there are none to answer. */
function ask(question: (number: number) => FromMerge): Promise<Uint8Array> {
  const number = ++last
  const answer = Promise.withResolvers<Uint8Array>()
  waiting.set(number, answer)
  tell(question(number))
  return answer.promise
}

const store: RunStore = {
  get: (key, range) => ask((get) => ({ get, key, range: range ?? null })),
  put: async (key, bytes) => {
    if (!(bytes instanceof Uint8Array)) throw new TypeError('a run is put as bytes')
    const own = ownBuffer(bytes)
    await ask((put) => ({ put, key, bytes: own }))
  },
}

parentPort?.on('message', (message: ToMerge) => {
  if ('request' in message) {
    collectLeft()
    collectObjects(message.request.memory / GARBAGE_PART)
    const onFile = async (key: string): Promise<void> => {
      await ask((file) => ({ file, key }))
    }
    writeRun(store, message.request, onFile).then(
      (written) => tell({ written }),
      (error: unknown) => tell({ failure: failureOf(error) }),
    )
    return
  }
  const { answer, bytes = new Uint8Array(0), failure } = message
  const asked = waiting.get(answer)
  waiting.delete(answer)
  if (failure === undefined) asked?.resolve(bytes)
  else asked?.reject(toldError(failure))
})
