import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../../src/base/errors.ts'
import { Keyring } from '../../src/format/record-keys/keyring.ts'
import { type Case, type Decoder, judge, type Outcome } from '../support/fuzz/case.ts'
import { nodeKinds, rootKind, sealedDecoder, sealedKinds } from '../support/fuzz/catalogue.ts'
import { containerDecoder } from '../support/fuzz/container.ts'
import { containerPlain, golden, goldenFiles } from '../support/fuzz/golden.ts'
import { eventDecoder, frameDecoder, intentDecoder, journalFileDecoder } from '../support/fuzz/journal.ts'
import { keyringKind, sealedImageDecoder } from '../support/fuzz/record-keys.ts'
import { pagesDecoder, segmentDecoder } from '../support/fuzz/segment.ts'
import { lineDecoder, manifestDecoder, snapshotDecoder } from '../support/fuzz/snapshot.ts'
import { buildFrame } from '../support/journal-frames.ts'
import { random } from '../support/simulated-disk.ts'

/** Every decoder of bytes that somebody else may have written. */
export async function decoders(): Promise<Decoder[]> {
  const frames = [...goldenFiles('frame-').values()]
  const segments = [...goldenFiles('segment-').values()]
  const snapshots = [goldenFiles('snapshot-')]
  const nothing = { changes: [], intents: [], aborted: [] }
  // A frame as another stream would have it: its checksum is not that of this one.
  const foreign = Buffer.from(buildFrame(2, 4, nothing))
  foreign.writeUInt32LE((foreign.readUInt32LE(4) ^ 0x5a5a5a5a) >>> 0, 4)
  const sealed = sealedKinds({
    store: [...goldenFiles('store-file').values()],
    slots: [...goldenFiles('key-slot').values()],
    proofs: [golden('drill-proof.bin')],
  })
  const catalogue = [
    rootKind([...goldenFiles('root-').values()]),
    ...nodeKinds([...goldenFiles('node-segments-').values()], [...goldenFiles('node-ledger-').values()]),
  ]
  const keyrings = [...goldenFiles('keyring-').values()]
  const keyring = Keyring.decode(golden('keyring-2.bin'))
  if (keyring === null) throw new Error('the golden keyring is none any more')
  return [
    eventDecoder(frames),
    intentDecoder(frames),
    frameDecoder(frames, [foreign]),
    journalFileDecoder(golden('journal-file.bin'), frames, foreign),
    await segmentDecoder(segments),
    pagesDecoder(segments),
    lineDecoder(snapshots),
    manifestDecoder(snapshots),
    await snapshotDecoder(snapshots),
    ...(await Promise.all([...sealed, ...catalogue, keyringKind(keyrings)].map(sealedDecoder))),
    sealedImageDecoder(keyring, [...goldenFiles('sealed-image-').values()]),
    containerDecoder(
      [5, 65_600].map((length) => ({ sealed: golden(`container-${length}.bin`), plain: containerPlain(length) })),
    ),
  ]
}

/** What came of the mutations of one decoder. */
export interface FuzzResult {
  readonly name: string
  readonly mutations: number
  readonly seconds: number
  readonly outcomes: Readonly<Record<Outcome, number>>
  readonly kinds: ReadonlyMap<string, number>
}

/** Runs mutations `seed`, `seed + 1`, …; `before` is told each. The error names the seed and where the input is kept. */
export async function fuzz(
  decoder: Decoder,
  mutations: number,
  seed: number,
  before: (seed: number) => void = () => {},
): Promise<FuzzResult> {
  const outcomes = { decoded: 0, refused: 0 }
  const kinds = new Map<string, number>()
  const started = performance.now()
  for (let one = seed; one < seed + mutations; one++) {
    before(one)
    const made = await decoder.make(random(Math.imul(one, 0x9e37_79b1)))
    try {
      outcomes[await judge(made)]++
    } catch (cause) {
      throw new Error(
        `${decoder.name}, ${made.kind}: ${messageOf(cause)}\n` +
          `input: ${kept(decoder, one, made)}\n` +
          `run it again: npm run fuzz -- --decoder ${decoder.name} --seed ${one} --mutations 1`,
        { cause },
      )
    }
    kinds.set(made.kind, (kinds.get(made.kind) ?? 0) + 1)
  }
  return { name: decoder.name, mutations, seconds: (performance.now() - started) / 1000, outcomes, kinds }
}

function kept(decoder: Decoder, seed: number, { input }: Case): string {
  const path = join(tmpdir(), `tidemark-fuzz-${decoder.name}-${seed}.bin`)
  writeFileSync(path, input, { mode: 0o600 })
  return path
}
