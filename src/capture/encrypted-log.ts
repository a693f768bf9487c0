import { openFrame, sealFrame } from '../format/encrypted-frame.ts'
import { corruptFrame, frameNumber, streamSeed } from '../format/journal-frame.ts'
import type { SecretKey } from '../store/encryption/store-key.ts'
import type { StoreSecrets } from '../store/object-store.ts'
import type { FrameLog } from './frame-log.ts'

/** The key of the journal of a stream. */
export function journalKey(secrets: StoreSecrets, stream: string): SecretKey {
  return secrets.derive(`tidemark journal ${stream}`)
}

/**
 * `log` with the body of each frame encrypted on its way in, where `encrypts`, and decrypted on its way out. Frames that
 * were written without encryption before are read as they are, so that the option can be switched on and off.
 */
export function encryptedLog(log: FrameLog, key: SecretKey, stream: string, encrypts: boolean): FrameLog {
  const seed = streamSeed(stream)
  const opened = (frame: Uint8Array): Uint8Array => {
    const plain = openFrame(frame, seed, (nonce, body, header) => key.open(nonce, body, header))
    if (plain !== null) return plain
    throw corruptFrame(`frame ${frameNumber(frame)} does not decrypt with the key of the store`)
  }
  return {
    get range(): FrameLog['range'] {
      return log.range
    },
    missing: log.missing,
    room: log.room,
    append: (frame, written) => {
      const sealed = encrypts ? sealFrame(frame, seed, (nonce, body, header) => key.seal(nonce, body, header)) : frame
      return log.append(sealed, written)
    },
    read: async function* (from) {
      for await (const frame of log.read(from)) yield opened(frame)
    },
    trim: (before) => log.trim(before),
    apart: () => log.apart(),
    close: () => log.close(),
  }
}
