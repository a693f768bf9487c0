import type { City, CityChange, GeoName } from './seam.ts'

/**
 * About `count` places, taken evenly from the whole world, as records. The id is the country and the place's number in
 * the list, so that the same record has the same id in every run.
 */
export function citiesOf(places: readonly GeoName[], count: number): City[] {
  const step = Math.max(1, Math.floor(places.length / count))
  const cities: City[] = []
  for (let i = 0; i < places.length && cities.length < count; i += step) {
    const place = places[i]
    if (place === undefined) break
    const { name, lat, lng, country, admin1, admin2 } = place
    cities.push({ id: `${country}-${i}`, name, lat: Number(lat), lng: Number(lng), country, admin1, admin2 })
  }
  return cities
}

/** What is done with the data before it goes wrong: notes on every tenth, and some that go for good. */
export function dayOfWork(cities: readonly City[]): { notes: CityChange[]; closed: string[] } {
  const notes = cities.filter((_, i) => i % 10 === 3).map(({ id, name }) => ({ id, note: `${name}: checked` }))
  const closed = cities.filter((_, i) => i % 100 === 50).map(({ id }) => id)
  return { notes, closed }
}

/**
 * What the bad deploy does: it reads UTF-8 as Latin-1 ("São Paulo" becomes "SÃ£o Paulo") and saves the names so, and
 * it takes places of one name for duplicates and deletes them.
 */
export function badDeploy(cities: readonly City[], closed: readonly string[]): { names: CityChange[]; lost: string[] } {
  const gone = new Set(closed)
  const left = cities.filter(({ id }) => !gone.has(id))
  const seen = new Set<string>()
  const lost: string[] = []
  for (const { id, name } of left) {
    if (seen.has(name)) lost.push(id)
    seen.add(name)
  }
  const names = left
    .map(({ id, name }) => ({ id, name: Buffer.from(name, 'utf8').toString('latin1') }))
    .filter(({ name }, i) => name !== left[i]?.name)
  return { names, lost }
}
