import { TidemarkError } from '../base/errors.ts'

/**
 * The error of what cannot be reached because nobody knows whether some writes of a stream happened; where there are none, because another
 * stream of the machine has not reached the store yet.
 */
export function undecided(stream: string, writes: number): TidemarkError {
  if (writes === 0) return waiting(stream)
  return new TidemarkError(
    'MOMENT_UNREACHABLE',
    `Whether ${writes} writes of stream ${stream} happened is not known: the database could not be read since.`,
    {
      hint: 'They are settled as soon as the database can be read (the log says why it cannot); earlier moments are reachable.',
      details: { stream, writes },
    },
  )
}

function waiting(stream: string): TidemarkError {
  return new TidemarkError(
    'MOMENT_UNREACHABLE',
    `What a process of this machine captured is not in the store yet: it was started without it. Stream ${stream} is complete only up to that start.`,
    {
      hint: 'It comes into the store by itself as soon as that process reaches it; `tidemark status` names it. Earlier moments are reachable.',
      details: { stream },
    },
  )
}
