import { campaignMain } from './campaign.ts'
import { erase } from './erase.ts'

await campaignMain(erase)
