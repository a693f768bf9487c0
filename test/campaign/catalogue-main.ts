import { campaignMain } from './campaign.ts'
import { catalogueCampaign } from './catalogue.ts'

await campaignMain(catalogueCampaign())
