import { parentPort } from 'node:worker_threads'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { EncodeReply, EncodeTask } from './encode-thread.ts'
import { Encoding } from './encoding.ts'

const encoding = new Encoding()

parentPort?.on('message', ({ id, request }: EncodeTask) => {
  try {
    const segment = encoding.encode(request)
    const reply: EncodeReply = { id, segment }
    parentPort?.postMessage(reply, [segment.bytes.buffer as ArrayBuffer])
  } catch (error) {
    const known = error instanceof TidemarkError ? error : null
    const failure = { code: known?.code ?? null, message: messageOf(error), hint: known?.hint ?? '' }
    const reply: EncodeReply = { id, failure }
    parentPort?.postMessage(reply)
  }
})
const ready: EncodeReply = { id: 0 }
parentPort?.postMessage(ready)
