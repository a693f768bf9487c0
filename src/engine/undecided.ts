import { TidemarkError } from '../base/errors.ts'

/** The error of what cannot be reached because nobody knows whether some writes of a stream happened. */
export function undecided(stream: string, writes: number): TidemarkError {
  return new TidemarkError(
    'MOMENT_UNREACHABLE',
    `Whether ${writes} writes of stream ${stream} happened is not known: the database could not be read since.`,
    {
      hint: 'They are settled as soon as the database can be read (the log says why it cannot); earlier moments are reachable.',
      details: { stream, writes },
    },
  )
}
