import { parentPort } from 'node:worker_threads'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { Keyring } from '../format/record-keys/keyring.ts'
import { sealEvents } from '../format/record-keys/seal-events.ts'
import { encodeSegment } from '../format/segment/encode.ts'
import type { EncodeReply, EncodeRequest } from './encoder.ts'

/** The last one that was sent: it has keys of records that it need not make again. */
let keyring: Keyring | null = null

parentPort?.on('message', ({ id, stream, previous, regions, keyring: given }: EncodeRequest) => {
  try {
    keyring = given === null || keyring?.generation === given.generation ? keyring : Keyring.decode(given.bytes)
    const events = given === null ? regions : sealed(regions)
    const segment = encodeSegment(events, { stream, level: 0, previous })
    const bytes = Uint8Array.from(segment.bytes)
    const reply: EncodeReply = { id, segment: { bytes, info: segment.info, keyring: given?.generation ?? 0 } }
    parentPort?.postMessage(reply, [bytes.buffer])
  } catch (error) {
    const known = error instanceof TidemarkError ? error : null
    const failure = { code: known?.code ?? null, message: messageOf(error), hint: known?.hint ?? '' }
    const reply: EncodeReply = { id, failure }
    parentPort?.postMessage(reply)
  }
})

function sealed(regions: readonly Uint8Array[]): readonly Uint8Array[] {
  const present = keyring
  if (present === null) throw new Error('the keyring did not arrive as it was sent')
  return regions.map((region) => sealEvents(present, region))
}
