import { parentPort } from 'node:worker_threads'
import { failureOf } from '../base/thread-failure.ts'
import type { EncodeReply, EncodeTask } from './encode-thread.ts'
import { Encoding } from './encoding.ts'

const encoding = new Encoding()

parentPort?.on('message', ({ id, request }: EncodeTask) => {
  try {
    const segment = encoding.encode(request)
    const reply: EncodeReply = { id, segment }
    parentPort?.postMessage(reply, [segment.bytes.buffer as ArrayBuffer])
  } catch (error) {
    const reply: EncodeReply = { id, failure: failureOf(error) }
    parentPort?.postMessage(reply)
  }
})
const ready: EncodeReply = { id: 0 }
parentPort?.postMessage(ready)
