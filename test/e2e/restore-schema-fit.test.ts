import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { S3db } from 's3db.js/lite'
import { afterAll, afterEach, expect, it } from 'vitest'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { newDatabase } from '../support/s3db.ts'

const directory = mkdtempSync(join(tmpdir(), 'schema-fit-'))
const connected: S3db[] = []
afterEach(async () => {
  for (const db of connected.splice(0)) await db.disconnect()
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** A history of one user, and another database with other attributes of the same resource. */
async function world(behavior: 'user-managed' | 'body-only') {
  const [{ db }, { db: other }] = [await newDatabase('memory'), await newDatabase('memory')]
  connected.push(db, other)
  const home = mkdtempSync(join(directory, 'home-'))
  const tidemark = new TidemarkPlugin({ store: `file:${home}/store`, journal: `${home}/journal` })
  await db.usePlugin(tidemark)
  const attributes = { email: 'string', phone: 'string', role: 'string', age: 'number|optional' }
  const users = await db.createResource({ name: 'users', attributes, behavior })
  await users.insert({ id: 'u1', email: 'ann@x', phone: '+49 1', role: 'admin', age: 41 })
  await tidemark.flush()
  const moment = Date.now()
  await new Promise((resolve) => setTimeout(resolve, 5))
  const there = await other.createResource({
    name: 'users',
    attributes: { role: 'string|optional', email: 'string|optional', city: 'string|optional', age: 'string|optional' },
    behavior,
  })
  await there.insert({ id: 'x', role: 'guest', email: 'x@x', city: 'Rome', age: 'old' })
  return { db, other, users, there, tidemark, moment }
}

const ONE = { resources: ['users'], ids: ['u1'], overwrite: true }

it('refuses a record whose attributes would land in others, and names them', async () => {
  const { other, there, tidemark, moment } = await world('user-managed')
  for (const dryRun of [true, false]) {
    const refused = await tidemark.restoreAt(moment, { ...ONE, target: other, dryRun }).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'SCHEMA_DIFFERS' })
    expect(String(refused)).toMatch(/email/)
    expect(String(refused)).toMatch(/phone/)
    expect(String(refused)).toMatch(/role/)
  }
  expect(await there.exists('u1')).toBe(false)
})

it.each(['user-managed', 'body-only'] as const)(
  'translates by attribute name, and names what has no place, %s',
  async (behavior) => {
    const { other, there, tidemark, moment } = await world(behavior)
    const result = await tidemark.restoreAt(moment, { ...ONE, target: other, mapSchema: true })
    expect([...result.unfit].sort()).toEqual(['users.age', 'users.phone'])
    const { id, email, role, phone, city, age } = await there.get('u1')
    expect({ id, email, role, phone, city, age }).toEqual({
      id: 'u1',
      email: 'ann@x',
      role: 'admin',
      phone: undefined,
      city: undefined,
      age: undefined,
    })
    expect(await there.get('x')).toMatchObject({ role: 'guest', email: 'x@x', city: 'Rome', age: 'old' })
    // It is compared as translated, too.
    const again = await tidemark.restoreAt(moment, { ...ONE, target: other, mapSchema: true, dryRun: true })
    expect(again.preview).toMatchObject({ added: 0, changed: 0, removed: 0 })
  },
)

it('needs no translation where the schema has only grown since', async () => {
  const { db, users, tidemark, moment } = await world('user-managed')
  const grown = {
    email: 'string',
    phone: 'string',
    role: 'string|min:2',
    age: 'number|optional',
    zip: 'string|optional',
  }
  await db.createResource({ name: 'users', attributes: grown })
  await users.update('u1', { email: 'new@x', zip: '1' })
  const { unfit } = await tidemark.restoreAt(moment, { ...ONE, target: 'live' })
  expect(unfit).toEqual([])
  expect(await users.get('u1')).toMatchObject({ email: 'ann@x', phone: '+49 1', role: 'admin', age: 41 })
})

it('refuses mapSchema where there is nothing to translate', async () => {
  const { other, tidemark, moment } = await world('user-managed')
  const code = { code: 'OPTION_INVALID' }
  const all = { resources: ['users'], overwrite: true, mapSchema: true }
  await expect(tidemark.restoreAt(moment, { ...all, target: other })).rejects.toMatchObject(code)
  await expect(tidemark.restoreAt(moment, { ...all, ids: ['u1'], target: `${directory}/d` })).rejects.toMatchObject(
    code,
  )
})
