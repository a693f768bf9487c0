import { campaignMain } from './campaign.ts'
import { reconcileCampaign } from './reconcile.ts'

await campaignMain(reconcileCampaign())
