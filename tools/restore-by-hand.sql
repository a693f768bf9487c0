-- Restore by hand: the state of a database at a moment, from the files of its store, with DuckDB and nothing else.
--
--   duckdb -cmd "SET VARIABLE store = './backups'; SET VARIABLE moment = '2026-11-19T02:46:59Z'" \
--          -c ".read restore-by-hand.sql" -c "FROM state"
--
-- The result is the table `state`: kind, resource, id, json (the record, as its bytes were), and what a source needs
-- besides to put the stored object back: raw (MessagePack) where it came from a segment, raw_json where it came from a
-- snapshot. To write the records of one resource as JSON lines:
--
--   COPY (SELECT json FROM state WHERE kind = 'record' AND resource = 'users' ORDER BY id)
--     TO 'users.jsonl' (FORMAT csv, HEADER false, DELIMITER E'\x01', QUOTE '', ESCAPE '');
--
-- Parameters; each is taken as it was set before this file is run, or from the default here.
--   store     directory of the store, or s3://bucket/prefix (LOAD httpfs)
--   moment    a time (inclusive, to the millisecond) or the ULID of an event (inclusive). Default: now
--   snapshot  ULID of the snapshot to begin with. Default: the last one that is consistent at the moment, from
--             `timeline/`: look at it with FROM snapshots. Every snapshot that is consistent gives the same state
--
-- What this does not do, and `tidemark restore` does: compare checksums, look for gaps in the sequences, and refuse
-- moments of which not everything is in the store yet. Where there is no segment at all, the snapshot is the state.

CREATE OR REPLACE TEMP MACRO last_ulid(ms) AS
  list_aggregate(list_transform(range(10), lambda i :
    substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', CAST((ms >> CAST(45 - 5 * i AS BIGINT)) & 31 AS BIGINT) + 1, 1)), 'string_agg', '')
  || repeat('Z', 16);

SET VARIABLE store = coalesce(getvariable('store'), './backups');
SET VARIABLE moment = coalesce(CAST(getvariable('moment') AS VARCHAR), CAST(now() AS VARCHAR));
SET VARIABLE until = CASE
  -- An event stands for everything that was written together with it: what differs only behind bit 64 is one instant.
  WHEN regexp_full_match(getvariable('moment'), '[0-7][0-9A-HJKMNP-TV-Z]{25}') THEN getvariable('moment')[:13]
    || CASE WHEN getvariable('moment')[14] >= 'G' THEN 'Z' ELSE 'F' END || repeat('Z', 12)
  ELSE last_ulid(epoch_ms(CAST(getvariable('moment') AS TIMESTAMPTZ))) END;

-- What every generation says: a file of timeline/ is a checkpoint, or the changes since one.
CREATE OR REPLACE TEMP TABLE generations AS
  SELECT filename AS generation, json
  FROM read_json_objects(getvariable('store') || '/timeline/*.json', maximum_object_size = 268435456, filename = true);

-- Every snapshot that was ever committed, where it is now: an erasure writes a snapshot again in another place.
CREATE OR REPLACE TEMP TABLE snapshots AS
  SELECT entry ->> '$.ulid' AS ulid, last(entry ->> '$.consistentFrom' ORDER BY generation, position) AS consistent_from,
    last(entry ->> '$.prefix' ORDER BY generation, position) AS prefix,
    last(CAST(entry ->> '$.records' AS BIGINT) ORDER BY generation, position) AS records
  FROM (
    SELECT generation, unnest(entries) AS entry, generate_subscripts(entries, 1) AS position
    FROM (
      SELECT generation, json_extract(json, '$.timeline.snapshots[*]') || flatten(list_transform(json_extract(json, '$.changes[*]'),
        lambda change : json_extract(change, '$.addSnapshots[*]') || json_extract(change, '$.erase.snapshots[*].by'))) AS entries
      FROM generations
    )
  )
  GROUP BY ALL;

-- The segments that are part of the history: not one that nobody committed, because its writer was killed or another had
-- its stream, and not one that an erasure has written again.
SET VARIABLE segments = (
  SELECT list(getvariable('store') || '/' || key ORDER BY key) FROM (
    SELECT unnest(flatten([json ->> '$.timeline.segments[*].key', json ->> '$.changes[*].addSegments[*].key',
      json ->> '$.changes[*].erase.segments[*].by.key'])) AS key FROM generations
    EXCEPT SELECT unnest(json ->> '$.changes[*].erase.segments[*].key') FROM generations
  ));

SET VARIABLE snapshot = coalesce(getvariable('snapshot'),
  (SELECT max(ulid) FROM snapshots WHERE consistent_from <= getvariable('until')));
SET VARIABLE prefix = (SELECT prefix FROM snapshots WHERE ulid = getvariable('snapshot'));

-- The manifest says which file holds which resource, and has the schemas.
CREATE OR REPLACE TEMP TABLE manifest AS
  SELECT CAST(content AS JSON) -> '$.tidemark' AS m
  FROM read_text(getvariable('store') || '/' || getvariable('prefix') || 's3db.json');

CREATE OR REPLACE TEMP TABLE resources AS
  SELECT unnest(m -> '$.resources[*]') AS r FROM manifest
  UNION ALL SELECT json_object('name', '', 'schema', m -> '$.schema', 'records', NULL, 'objects', m -> '$.objects') FROM manifest;

CREATE OR REPLACE TEMP TABLE files AS
  SELECT 'record' AS kind, r ->> '$.name' AS resource, r ->> '$.records.file' AS file FROM resources
  UNION ALL SELECT 'object', r ->> '$.name', r ->> '$.objects.file' FROM resources;

-- A line is the record with one member more at its end: `,"_tidemark":{"id":…,"raw":…,"json":<bytes of the record>}}`.
-- Lines are read as text, not as JSON, so that every record keeps its bytes.
-- DuckDB cannot read no file at all, which is what the snapshot of an empty database has.
SET VARIABLE read_lines = CASE
  WHEN (SELECT count(*) FROM glob(getvariable('store') || '/' || getvariable('prefix') || '*.jsonl.gz')) = 0
  THEN 'SELECT '''' AS line, '''' AS filename LIMIT 0'
  ELSE $$ FROM read_csv(getvariable('store') || '/' || getvariable('prefix') || '*.jsonl.gz',
    columns = {'line': 'VARCHAR'}, auto_detect = false, header = false, delim = E'\x01', quote = '', escape = '',
    comment = '', new_line = '\n', null_padding = false, compression = 'gzip', filename = true,
    max_line_size = 67108864, parallel = false) $$ END;

CREATE OR REPLACE TEMP TABLE lines AS
  SELECT parse_filename(filename) AS file, encode(line) AS line,
    CAST(regexp_extract(line, ',"json":(\d+)}}$', 1) AS BIGINT) AS bytes
  FROM query(getvariable('read_lines'));

CREATE OR REPLACE TEMP TABLE snapshot_state AS
  SELECT kind, resource, tail ->> '$._tidemark.id' AS id, decode(line[1:bytes - 1]) || '}' AS json,
    tail -> '$._tidemark.raw' AS raw_json
  FROM (
    SELECT *, CAST('{' || decode(line[CASE WHEN bytes > 2 THEN bytes + 1 ELSE 2 END:]) AS JSON) AS tail
    FROM lines JOIN files USING (file)
  )
  UNION ALL
  SELECT 'schema', r ->> '$.name', '', r ->> '$.schema.json', r -> '$.schema.raw'
  FROM resources WHERE (r ->> '$.schema.json') IS NOT NULL;

SET VARIABLE read_events = CASE
  WHEN getvariable('segments') IS NULL
  THEN 'SELECT '''' AS kind, '''' AS resource, '''' AS record_id, '''' AS ulid, '''' AS after, ''''::BLOB AS after_raw LIMIT 0'
  ELSE 'FROM read_parquet(getvariable(''segments''))' END;

-- Of each item the last event after the snapshot and not after the moment. In a struct, because a deleted item has no
-- `after` and max_by would skip a bare NULL.
CREATE OR REPLACE TEMP TABLE last_events AS
  SELECT kind, resource, record_id AS id, max_by({'json': after, 'raw': after_raw}, ulid) AS image
  FROM query(getvariable('read_events'))
  WHERE ulid > getvariable('snapshot') AND ulid <= getvariable('until')
  GROUP BY ALL;

CREATE OR REPLACE TEMP TABLE state AS
  SELECT * FROM (
    SELECT kind, resource, id, image.json AS json, image.raw AS raw, NULL AS raw_json
    FROM last_events WHERE image.json IS NOT NULL
    UNION ALL
    SELECT kind, resource, id, json, NULL, raw_json
    FROM snapshot_state ANTI JOIN last_events USING (kind, resource, id)
  )
  ORDER BY CASE kind WHEN 'schema' THEN 0 WHEN 'object' THEN 1 ELSE 2 END, resource, id;
