/**
 * Generations that the timeline was made again in place of, from the first that was damaged or missing to the last one:
 * their numbers stay taken, and their files stay as they are.
 */
export interface Repair {
  /** That made it again. */
  readonly generation: number
  readonly first: number
  readonly last: number
}
