import type { S3db } from 's3db.js/lite'
import { essential, type StoredBytes } from './s3db.ts'

/** Every state that every stored object went through, in order, from below s3db.js's client; null: it did not exist. */
export type StorageLog = Map<string, (string | null)[]>

interface Storage {
  put(key: string, ...rest: unknown[]): Promise<unknown>
  copy(from: string, to: string, ...rest: unknown[]): Promise<unknown>
  delete(key: string): Promise<unknown>
  deleteMultiple(keys: string[]): Promise<unknown>
}

/**
 * Logs the storage of a database below the client that capture overrides: an oracle that shares nothing with it. `read`
 * gives one object as it is stored now. States that repeat the one before are left out.
 */
export function logStorage(db: S3db, prefix: string, read: (key: string) => Promise<StoredBytes | null>): StorageLog {
  const log: StorageLog = new Map()
  const storage = (db.client as unknown as { storage: Storage }).storage
  const note = async (fullKey: string): Promise<void> => {
    const key = fullKey.slice(prefix.length)
    if (essential(new Map([[key, { body: new Uint8Array(0), metadata: {}, contentType: '' }]])).size === 0) return
    const stored = await read(key)
    const state = stored === null ? null : describeBytes(stored)
    const states = log.get(key) ?? []
    log.set(key, states)
    if (states.length === 0 ? state !== null : states.at(-1) !== state) states.push(state)
  }
  const { put, copy, delete: remove, deleteMultiple } = storage
  const outermost = async (keys: string[], work: () => Promise<unknown>): Promise<unknown> => {
    try {
      return await work()
    } finally {
      for (const key of keys) await note(key)
    }
  }
  storage.put = (key, ...rest) => outermost([key], () => put.call(storage, key, ...rest))
  storage.copy = (from, to, ...rest) => outermost([to], () => copy.call(storage, from, to, ...rest))
  storage.delete = (key) => outermost([key], () => remove.call(storage, key))
  storage.deleteMultiple = (keys) => outermost(keys, () => deleteMultiple.call(storage, keys))
  return log
}

/** A stored object as comparable text. */
export function describeBytes({ body, metadata, contentType }: StoredBytes): string {
  return JSON.stringify([Buffer.from(body).toString('base64'), Object.entries(metadata).sort(), contentType])
}
