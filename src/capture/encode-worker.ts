import { parentPort } from 'node:worker_threads'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { encodeSegment } from '../format/segment/encode.ts'
import type { EncodeReply, EncodeRequest } from './encoder.ts'

parentPort?.on('message', ({ id, stream, previous, regions }: EncodeRequest) => {
  try {
    const segment = encodeSegment(regions, { stream, level: 0, previous })
    const bytes = Uint8Array.from(segment.bytes)
    const reply: EncodeReply = { id, segment: { bytes, info: segment.info } }
    parentPort?.postMessage(reply, [bytes.buffer])
  } catch (error) {
    const known = error instanceof TidemarkError ? error : null
    const failure = { code: known?.code ?? null, message: messageOf(error), hint: known?.hint ?? '' }
    const reply: EncodeReply = { id, failure }
    parentPort?.postMessage(reply)
  }
})
