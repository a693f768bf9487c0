import { parseArgs } from 'node:util'

/** What a campaign did to the system and what came of it: counts by name, for the line that it prints. */
export class Tally {
  readonly #counts = new Map<string, number>()

  add(name: string, count = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + count)
  }

  of(name: string): number {
    return this.#counts.get(name) ?? 0
  }

  toString(): string {
    return [...this.#counts].map(([name, count]) => `${name} ${count}`).join(', ')
  }
}

/** A series of scenarios, each made from one seed: the same seed, the same scenario. */
export interface Campaign {
  /** As in `npm run <name>`. */
  readonly name: string
  /** Scenarios of the long command where `--seeds` is not given. */
  readonly seeds: number
  /** Runs one scenario and throws where anything was lost, wrong or twice there. Counts what it injected. */
  run(seed: number, tally: Tally): Promise<void>
}

/** Runs `seeds` scenarios from `first`. The error names the seed and the command that runs it again. */
export async function runCampaign(
  campaign: Campaign,
  { seeds, first = 1, onSeed = (): void => {} }: { seeds: number; first?: number; onSeed?: (done: number) => void },
): Promise<Tally> {
  const tally = new Tally()
  for (let seed = first; seed < first + seeds; seed++) {
    try {
      await campaign.run(seed, tally)
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new Error(`seed ${seed}: ${why}\nrun it again: npm run ${campaign.name} -- --seed ${seed} --seeds 1`, {
        cause,
      })
    }
    onSeed(seed - first + 1)
  }
  return tally
}

/** The long command of a campaign: `--seeds <how many> --seed <the first>`. Prints one line of result. */
export async function campaignMain(campaign: Campaign): Promise<void> {
  const { values } = parseArgs({ options: { seeds: { type: 'string' }, seed: { type: 'string' } } })
  const seeds = Number(values.seeds ?? campaign.seeds)
  const first = Number(values.seed ?? 1)
  if (!Number.isSafeInteger(seeds) || seeds < 1 || !Number.isSafeInteger(first)) {
    throw new Error('--seeds and --seed take whole numbers')
  }
  const started = performance.now()
  let shown = 0
  const onSeed = (done: number): void => {
    if (!process.stderr.isTTY || performance.now() - shown < 200) return
    shown = performance.now()
    process.stderr.write(`\r${campaign.name}: ${done} of ${seeds}`)
  }
  const tally = await runCampaign(campaign, { seeds, first, onSeed })
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  if (process.stderr.isTTY) process.stderr.write('\r')
  process.stdout.write(`${campaign.name}: ${seeds} seeds from ${first} in ${seconds} s: ${tally}. Lost: nothing.\n`)
}
