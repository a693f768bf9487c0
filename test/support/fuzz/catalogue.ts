import { readFileSync } from 'node:fs'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { sha256 } from '../../../src/base/bytes.ts'
import { TidemarkError } from '../../../src/base/errors.ts'
import { readStoreFile } from '../../../src/engine/store-file.ts'
import { sealJson, unsealJson } from '../../../src/format/sealed-json.ts'
import { decodeHead } from '../../../src/format/timeline-codec.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import { type Case, type Decoder, same } from './case.ts'
import { choose, mutateBytes, mutateJson, pick, type Random } from './mutate.ts'

function validator(schema: string): ValidateFunction {
  const ajv = new Ajv2020({ strict: false })
  formats.default(ajv)
  const file = new URL(`../../../schemas/${schema}.schema.json`, import.meta.url)
  // Members that this version does not know are for those who know them.
  const known = readFileSync(file, 'utf8').replaceAll('"additionalProperties": false', '"additionalProperties": true')
  return ajv.compile(JSON.parse(known))
}

function expectValid(validate: ValidateFunction, value: unknown): void {
  if (validate(value)) return
  throw new Error(`it was accepted against the schema: ${JSON.stringify(validate.errors?.slice(0, 3))}`)
}

/** Changes members, or the text itself, of a JSON file with a checksum, and makes the checksum fit. */
function resealed(
  file: Uint8Array,
  donors: readonly Uint8Array[],
  random: Random,
): { bytes: Uint8Array; kind: string } {
  const members = (bytes: Uint8Array): unknown => unsealJson(bytes)
  if (random() < 0.8) {
    const { value, kind } = mutateJson(members(file), donors.map(members), random)
    return { bytes: sealJson(typeof value === 'object' && value !== null ? value : {}), kind: `repaired ${kind}` }
  }
  const { bytes, kind } = mutateBytes(file, donors, random)
  return { bytes: sealedBytes(bytes), kind: `repaired text ${kind}` }
}

/** Any bytes with the beginning of a sealed file, and the checksum that they then have. */
function sealedBytes(bytes: Uint8Array): Uint8Array {
  const start = `{"sha256":"${'0'.repeat(64)}`
  const file = Buffer.concat([bytes, Buffer.alloc(Math.max(0, start.length - bytes.length))])
  file.write(start, 0, 'latin1')
  file.write(sha256(file), start.length - 64, 'latin1')
  return file
}

/**
 * The timeline at generations 1 to n. A damaged file gives the original or nothing; one that somebody has made so,
 * with a right checksum, gives a timeline by its schema or nothing.
 */
export async function timelineDecoder(generations: readonly Uint8Array[]): Promise<Decoder> {
  const validate = validator('timeline')
  const latest = generations.length
  const read = async (files: readonly Uint8Array[]): Promise<string> => {
    const head = await decodeHead(latest, async (generation) => {
      const bytes = files[generation - 1]
      if (bytes !== undefined) return bytes
      throw new TidemarkError('TIMELINE_CORRUPT', `no generation ${generation}`, { hint: 'a missing file' })
    })
    return JSON.stringify(head)
  }
  const original = await read(generations)
  const checkpoint: number = JSON.parse(original).checkpoint
  return {
    name: 'timeline',
    make: (random) => {
      const isRepaired = random() < 0.75
      const which = choose(random, [latest, checkpoint])
      const file = generations[which - 1] ?? Buffer.alloc(0)
      const { bytes, kind } = isRepaired ? resealed(file, generations, random) : mutateBytes(file, generations, random)
      const decode: Case['decode'] = async () => {
        const found = await read(generations.map((one, i) => (i === which - 1 ? bytes : one)))
        return () => {
          if (!isRepaired) return same(found, original, 'a damaged timeline gave')
          const { timeline, changes } = JSON.parse(found)
          const rest = { sha256: '0'.repeat(64), format: 1, generation: latest, previous: null, checkpoint: 1 }
          expectValid(validate, { ...rest, timeline })
          if (changes.length > 0) expectValid(validate, { ...rest, changes })
        }
      }
      return { kind, input: bytes, decode }
    },
  }
}

/** `tidemark.json`. */
export async function storeFileDecoder(samples: readonly Uint8Array[]): Promise<Decoder> {
  const validate = validator('store')
  const read = async (bytes: Uint8Array): Promise<object> => {
    const store = new MemoryStore()
    await store.put('tidemark.json', bytes)
    const file = await readStoreFile(store)
    if (file === null) throw new Error('a store file was not seen')
    return file
  }
  const originals = await Promise.all(samples.map(async (bytes) => JSON.stringify(await read(bytes))))
  return {
    name: 'store-file',
    make: (random) => {
      const isRepaired = random() < 0.75
      const which = pick(random, samples.length)
      const file = samples[which] ?? Buffer.alloc(0)
      const { bytes, kind } = isRepaired ? resealed(file, samples, random) : mutateBytes(file, samples, random)
      const decode: Case['decode'] = async () => {
        const found = await read(bytes)
        return () => {
          if (isRepaired) return expectValid(validate, { sha256: '0'.repeat(64), ...found })
          same(JSON.stringify(found), originals[which] ?? '', 'a damaged store file gave')
        }
      }
      return { kind, input: bytes, decode }
    },
  }
}
