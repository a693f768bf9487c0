import { expect, test } from 'vitest'
import { nodeKey } from '../../src/format/keys.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { NAMED_WITHIN, NodeFiles } from '../../src/timeline/nodes.ts'
import { SEGMENTS } from '../../src/timeline/segments.ts'
import { segment } from '../support/many-segments.ts'

test('what an attempt has put is named by the next generations, and by none so late that it may be swept meanwhile', () => {
  const content = { height: 0, entries: [segment(0, firstUlidAt(1_760_000_000_000))] } as const
  const first = new NodeFiles(100, new Map())
  const { key, sha256 } = first.add(SEGMENTS, content)
  expect(first.files.map((file) => file.key)).toEqual([key])
  for (let behind = 0; behind <= NAMED_WITHIN + 1; behind++) {
    const later = new NodeFiles(100 + behind, new Map([[sha256, nodeKey(100, 'aaaaaaaa')]]))
    const named = later.add(SEGMENTS, content).key
    expect([named === nodeKey(100, 'aaaaaaaa'), later.files.length === 0]).toEqual(Array(2).fill(behind < NAMED_WITHIN))
  }
})
