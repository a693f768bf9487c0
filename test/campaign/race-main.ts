import { campaignMain } from './campaign.ts'
import { race } from './race.ts'

await campaignMain(race)
