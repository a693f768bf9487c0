import { Keyring } from '../format/record-keys/keyring.ts'
import { sealEvents } from '../format/record-keys/seal-events.ts'
import { type EncodedSegment, encodeSegment } from '../format/segment/encode.ts'

/** What is to be encoded: events as `encodeEvent` wrote them. */
export interface EncodeRequest {
  readonly stream: string
  /** The link of the stream before these events. */
  readonly previous: string
  readonly regions: readonly Uint8Array[]
  /** The keyring that the images of records are sealed with; null where they are stored as they are. */
  readonly keyring: { readonly generation: number; readonly bytes: Uint8Array } | null
}

/** A segment, and the generation of the keyring that its images are sealed with: 0 where they are not. */
export interface SealedSegment extends EncodedSegment {
  readonly keyring: number
}

/** Encodes segments in the thread that calls it. */
export class Encoding {
  /** The last one that was given: it has keys of records that it need not make again. */
  #keyring: Keyring | null = null

  encode({ stream, previous, regions, keyring }: EncodeRequest): SealedSegment {
    const events = keyring === null ? regions : this.#sealed(regions, keyring)
    const { bytes, info } = encodeSegment(events, { stream, level: 0, previous })
    return { bytes: new Uint8Array(bytes), info, keyring: keyring?.generation ?? 0 }
  }

  #sealed(
    regions: readonly Uint8Array[],
    { generation, bytes }: { generation: number; bytes: Uint8Array },
  ): readonly Uint8Array[] {
    const keyring = this.#keyring?.generation === generation ? this.#keyring : Keyring.decode(bytes)
    if (keyring === null) throw new Error('the keyring did not arrive as it was sent')
    this.#keyring = keyring
    return regions.map((region) => sealEvents(keyring, region))
  }
}
