import { expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/base/log.ts'
import { Findings } from '../../src/capture/findings.ts'
import type { Finding } from '../../src/model/found.ts'
import { recordImage } from '../support/model-database.ts'

const interval = { after: '01KAAAAAAAAAAAAAAAAAAA0001', before: '01KAAAAAAAAAAAAAAAAAAA0002' }
const finding: Finding = {
  kind: 'record',
  resource: 'r',
  id: 'a',
  before: null,
  after: recordImage({ n: 1 }),
  interval,
}

function findings(aloneSince: () => Promise<boolean>): Findings {
  return new Findings({ clock: systemClock, log: createLogger('silent'), aloneSince })
}

test('a listener that throws rejects nothing, and the others are told', async () => {
  const told: Finding[] = []
  const one = findings(async () => true)
  one.listen(() => {
    throw new Error('the pager is down')
  })
  one.listen((found) => told.push(found))
  await one.confirm(finding)
  expect(told).toEqual([finding])
  expect(one.count.count).toBe(1)
})

test('there is no alarm where the store says that another process was there', async () => {
  const one = findings(async () => false)
  one.listen(() => expect.unreachable())
  await one.confirm(finding)
  expect(one.count).toEqual({ count: 0, last: null })
})

test('where the store cannot be asked, what is known here counts', async () => {
  const told: Finding[] = []
  const one = findings(() => Promise.reject(new Error('no connection')))
  one.listen((found) => told.push(found))
  await one.confirm(finding)
  expect(told).toEqual([finding])
})
