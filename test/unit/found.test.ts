import { expect, test } from 'vitest'
import { NO_CONTEXT } from '../../src/model/event.ts'
import { foundContext, foundInterval } from '../../src/model/found.ts'

const interval = { after: '01KAAAAAAAAAAAAAAAAAAAAAAA', before: '01KAAAAAAAAAAAAAAAAAAAAAAB' }

test('what is found says so, and nothing else does', () => {
  const context = foundContext(interval)
  expect(JSON.parse(context.metadata ?? '')).toEqual({ tidemark: { found: true, ...interval } })
  expect(foundInterval(context)).toEqual(interval)
  for (const metadata of [
    null,
    '{}',
    '{"tidemark":"observed after a concurrent write of another process"}',
    '{"tidemark":{"found":false,"after":"01KAAAAAAAAAAAAAAAAAAAAAAA","before":"01KAAAAAAAAAAAAAAAAAAAAAAB"}}',
    '{"tidemark":{"found":true,"after":"yesterday","before":"01KAAAAAAAAAAAAAAAAAAAAAAB"}}',
    '{"tidemark":{"found":true}}',
  ]) {
    expect(foundInterval({ ...NO_CONTEXT, metadata })).toBeNull()
  }
})
