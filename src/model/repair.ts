/**
 * Generations that the timeline was made again in place of, from the first that was damaged or missing to the last one:
 * or earlier ones that nothing needs any more, and that cannot be read. Their numbers stay taken, and their files stay.
 */
export interface Repair {
  /** That made it again. */
  readonly generation: number
  readonly first: number
  readonly last: number
}
