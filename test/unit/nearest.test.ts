import { expect, test } from 'vitest'
import { nearestNames } from '../../src/base/nearest.ts'

test('letters that are missing, added, other ones, swapped, or of another case are near, and what is not like it is not', () => {
  const names = ['users', 'orders', 'user-notes', 'products', 'ID']
  expect(nearestNames('usres', names)).toEqual(['users'])
  expect(nearestNames('user', names)).toEqual(['users'])
  expect(nearestNames('Orders', names)).toEqual(['orders'])
  expect(nearestNames('product', names)).toEqual(['products'])
  expect(nearestNames('id', names)).toEqual(['ID'])
  expect(nearestNames('xyz', names)).toEqual([])
  expect(nearestNames('', names)).toEqual([])
  // What is named exactly so is no suggestion, and a name of a megabyte is not compared.
  expect(nearestNames('users', names)).toEqual([])
  expect(nearestNames('u'.repeat(1e6), names)).toEqual([])
  expect(nearestNames('users', ['u'.repeat(1e6)])).toEqual([])
})

test('the nearest comes first, and there are three at most', () => {
  const names = ['a-00', 'a-01', 'a-02', 'a-03', 'A-000', 'a-0000']
  expect(nearestNames('a-000', names)[0]).toBe('A-000')
  expect(nearestNames('a-000', names)).toHaveLength(3)
})
