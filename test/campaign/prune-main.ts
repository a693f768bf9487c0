import { campaignMain } from './campaign.ts'
import { prune } from './prune.ts'

await campaignMain(prune)
