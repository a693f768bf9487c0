import { campaignMain } from './campaign.ts'
import { faults } from './faults.ts'

await campaignMain(faults)
