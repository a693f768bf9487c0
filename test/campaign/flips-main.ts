import { campaignMain } from './campaign.ts'
import { flips } from './flips.ts'

await campaignMain(flips)
