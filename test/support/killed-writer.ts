import { FileSystemClient, S3db } from 's3db.js/lite'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'

/*
 * A process under capture that makes one write of the record `<id>` (a JSON string) and is killed when the database has
 * done or refused it, before anything hears of that.
 * usage: killed-writer.ts <directory> insert|delete <id>
 */
const [directory = '', what = '', json = '""'] = process.argv.slice(2)
const id: string = JSON.parse(json)
const db = new S3db({ connectionString: `file://${directory}/db`, logLevel: 'silent' })
await db.connect()
const tidemark = new TidemarkPlugin({ store: `file:${directory}/store`, journal: `${directory}/journal` })
await db.usePlugin(tidemark)
const records = db.resources.records
const { client } = db
if (records === undefined || !(client instanceof FileSystemClient)) throw new Error('the rig does not fit')
const { storage } = client
const kill = (): boolean => process.kill(process.pid, 'SIGKILL')
const { put, delete: remove } = storage
storage.put = (...args) => put.apply(storage, args).finally(kill)
storage.delete = (...args) => remove.apply(storage, args).finally(kill)
await tidemark.as({ actor: 'killed' }, () =>
  what === 'insert' ? records.insert({ id, name: 'killed' }) : records.delete(id),
)
