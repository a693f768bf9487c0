import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/*
 * A second implementation of the formats for reading, made from schemas/FORMAT.md alone: nothing in this directory, and
 * nothing that it imports, knows the code in src/. Numbers in brackets are the sections of the document.
 */

/** What is not as the document says throws this. */
export function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

export function sha(...parts: (string | Uint8Array)[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

export function hex(...parts: (string | Uint8Array)[]): string {
  return sha(...parts).toString('hex')
}

export function u32(n: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(n)
  return bytes
}

export function u64(n: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(n))
  return bytes
}

/** Strings as their UTF-8 bytes are ordered. */
export function utf8Order(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

/** Every file of a directory by key. */
export function filesOf(directory: string): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>()
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile()) files.set(path.slice(directory.length + 1), readFileSync(path))
  }
  return files
}

/** A JSON file with a checksum (2). */
export function sealed<T>(bytes: Uint8Array | undefined): T {
  const text = Buffer.from(bytes ?? []).toString()
  must(text.startsWith('{"sha256":"') && text.endsWith('}\n'), 'no JSON file with a checksum')
  must(hex(`{"sha256":"${'0'.repeat(64)}${text.slice(75)}`) === text.slice(11, 75), 'another checksum')
  return JSON.parse(text)
}
