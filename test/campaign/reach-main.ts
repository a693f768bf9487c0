import { campaignMain } from './campaign.ts'
import { reachCampaign } from './reach.ts'

await campaignMain(reachCampaign())
