import { parseArgs } from 'node:util'
import { soak } from './soak.ts'

const { values } = parseArgs({ options: { minutes: { type: 'string' }, seed: { type: 'string' } } })
const minutes = Number(values.minutes ?? 20)
const seed = Number(values.seed ?? 1)
if (!(minutes > 0) || !Number.isSafeInteger(seed)) throw new Error('--minutes takes a number, --seed a whole number')
const onNote = (note: string): void => void process.stderr.write(`${note}\n`)
const result = await soak({ minutes, seed, onNote })
process.stdout.write(`soak: seed ${seed}, ${minutes} minutes: ${result.tally}. Lost: nothing.\n`)
