import { campaignMain } from './campaign.ts'
import { tamper } from './tamper.ts'

await campaignMain(tamper)
