// A process for the tests of the locks: takes what it can get of a journal directory, says so, and stays.
import { createStream, takeStreams } from '../../src/capture/stream-dir.ts'

const [directory = '', create = ''] = process.argv.slice(2)
const taken = create === '' ? await takeStreams(directory) : [await createStream(directory, create)]
console.log(JSON.stringify(taken.map(({ stream }) => stream)))
setInterval(() => undefined, 60_000)
