-- Restore by hand: the state of a database at a moment, from the files of its store, with DuckDB and nothing else.
--
--   duckdb -cmd "SET VARIABLE store = './backups'; SET VARIABLE moment = '2026-11-19T02:46:59Z'" \
--          -c ".read restore-by-hand.sql" -c "FROM state"
--
-- The result is the view `state`: kind, resource, id, json (the record, as its bytes were), and what a source needs
-- besides to put the stored object back: raw (MessagePack) where it came from a segment, raw_json where it came from a
-- snapshot. To write the records of one resource as JSON lines:
--
--   COPY (SELECT json FROM state WHERE kind = 'record' AND resource = 'users')
--     TO 'users.jsonl' (FORMAT csv, HEADER false, DELIMITER E'\x01', QUOTE '', ESCAPE '');
--
-- Parameters; each is taken as it was set before this file is run, or from the default here.
--   store     directory of the store, or s3://bucket/prefix (LOAD httpfs)
--   moment    a time (inclusive, to the millisecond) or the ULID of an event (inclusive). Default: now
--   snapshot  ULID of the snapshot to begin with. Default: the last one that is consistent at the moment, from
--             `timeline/`: look at it with FROM snapshots. Every snapshot that is consistent gives the same state
--   longest   bytes that a line of the snapshot may have: DuckDB makes room for a few of this length. Default: what the
--             manifest lets expect. Where DuckDB says that a maximum line size is exceeded, give more, 536870912 at most;
--             where it needs too much memory, give what your largest record needs, twice its JSON and a kilobyte
--
-- Memory: each look at `state` reads the files again, a few lines at a time, whatever the size of the store; only which event
-- is the last of each item is kept, and goes to DuckDB's `temp_directory` where it does not fit. With `SET threads = 1` and
-- `SET memory_limit` before this file is run, 256 MB and ten times the longest line are enough. Rows have no order: to have
-- one, add ORDER BY, for which DuckDB needs room for all of them.
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

-- Rows come in any order, and none wait until others fill a vector, whatever their length.
SET preserve_insertion_order = false;
SET enable_caching_operators = false;
SET enable_external_file_cache = false;
-- What is kept in memory for a join is its right side, as it is written here.
SET disabled_optimizers = 'join_order,build_side_probe_side';

-- What the timeline says: its last file, the root, has what is new, and names nodes: files with the rest. A leaf, which has
-- height 0, has entries; any other node names nodes that are lower. What nothing names, from the root on, means nothing.
SET VARIABLE last_file = (SELECT max(file) FROM glob(getvariable('store') || '/timeline/*.json'));

CREATE OR REPLACE TEMP TABLE root AS
  SELECT CAST(content AS JSON) -> '$.timeline' AS json FROM read_text(getvariable('last_file'));

-- The files of the variable of that name. DuckDB cannot read no file at all.
CREATE OR REPLACE TEMP MACRO read_nodes(name) AS CASE WHEN getvariable(name) IS NULL
  THEN 'SELECT NULL::JSON AS json LIMIT 0'
  ELSE 'SELECT CAST(content AS JSON) AS json FROM read_text(getvariable(''' || name || '''))' END;

CREATE OR REPLACE TEMP MACRO named(list) AS TABLE
  SELECT tree, getvariable('store') || '/' || (node ->> '$.key') AS path, CAST(node ->> '$.height' AS INTEGER) AS height,
    node ->> '$.firstUlid' AS first_ulid, node ->> '$.lastUlid' AS last_ulid
  FROM (SELECT tree, unnest(nodes) AS node FROM query_table(list));

CREATE OR REPLACE TEMP VIEW in_root AS
  SELECT 'segments' AS tree, json -> '$.segments.nodes[*]' AS nodes FROM root
  UNION ALL SELECT 'ledger', json -> '$.ledger[*]' FROM root;
CREATE OR REPLACE TEMP VIEW in_branches AS
  SELECT json ->> '$.tree' AS tree, json -> '$.nodes[*]' AS nodes FROM query(read_nodes('branches'));

CREATE OR REPLACE TEMP TABLE nodes AS FROM named('in_root');

-- No node is higher than 20, and those that one names are lower than it is.
CREATE OR REPLACE TEMP MACRO of_height(n) AS (SELECT list(path) FROM nodes WHERE height = n);
SET VARIABLE branches = of_height(20); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(19); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(18); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(17); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(16); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(15); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(14); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(13); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(12); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(11); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(10); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(9); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(8); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(7); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(6); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(5); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(4); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(3); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(2); INSERT INTO nodes FROM named('in_branches');
SET VARIABLE branches = of_height(1); INSERT INTO nodes FROM named('in_branches');

-- Every snapshot, where it is now: an erasure writes a snapshot again in another place.
SET VARIABLE ledger = (SELECT list(path) FROM nodes WHERE tree = 'ledger' AND height = 0);
CREATE OR REPLACE TEMP TABLE snapshots AS
  SELECT entry ->> '$.ulid' AS ulid, entry ->> '$.consistentFrom' AS consistent_from, entry ->> '$.prefix' AS prefix,
    CAST(entry ->> '$.records' AS BIGINT) AS records
  FROM (
    SELECT unnest(json -> '$.snapshots[*]') AS entry FROM root
    UNION ALL SELECT unnest(json -> '$.ledger[*].snapshots') FROM query(read_nodes('ledger'))
  );

-- Moments that retention made unreachable: from a snapshot before one of these ranges, no moment in it or behind it can be made.
CREATE OR REPLACE TEMP TABLE pruned AS
  SELECT entry ->> '$.from' AS first, entry ->> '$.through' AS last, entry ->> '$.by' AS policy
  FROM (
    SELECT unnest(json -> '$.pruned[*]') AS entry FROM root
    UNION ALL SELECT unnest(json -> '$.ledger[*].pruned') FROM query(read_nodes('ledger'))
  );

SET VARIABLE snapshot = (SELECT max(ulid) FROM snapshots WHERE consistent_from <= getvariable('until')
  AND ulid = coalesce(getvariable('snapshot'), ulid) AND NOT EXISTS
    (FROM pruned WHERE last >= consistent_from AND first <= getvariable('until')));
SELECT CASE WHEN getvariable('snapshot') IS NULL THEN error('No snapshot makes the state of this moment: it is before the '
  || 'first, or it was pruned: ' || coalesce((SELECT string_agg(first || ' to ' || last || ' by ' || policy, ', ') FROM pruned), 'nothing was'))
  END AS no_such_moment WHERE getvariable('snapshot') IS NULL;
SET VARIABLE prefix = (SELECT any_value(prefix) FROM snapshots WHERE ulid = getvariable('snapshot'));

-- The segments that are part of the history: not one that nobody committed, because its writer was killed or another had
-- its stream, and not one that an erasure has written again.
CREATE OR REPLACE TEMP VIEW history AS
  SELECT getvariable('store') || '/' || (entry ->> '$.key') AS path, entry ->> '$.firstUlid' AS first_ulid,
    entry ->> '$.lastUlid' AS last_ulid
  FROM (
    SELECT unnest(json -> '$.segments.tail[*]') AS entry FROM root
    UNION ALL SELECT unnest(json -> '$.segments[*]') FROM query(read_nodes('leaves'))
  );

-- Those of them with events after the snapshot and not after the moment: other leaves are not read.
SET VARIABLE leaves = (SELECT list(path) FROM nodes WHERE tree = 'segments' AND height = 0
  AND last_ulid > getvariable('snapshot') AND first_ulid <= getvariable('until'));
SET VARIABLE needed = (SELECT list(DISTINCT path) FROM history
  WHERE last_ulid > getvariable('snapshot') AND first_ulid <= getvariable('until'));

-- FROM history shows all of them.
SET VARIABLE leaves = (SELECT list(path) FROM nodes WHERE tree = 'segments' AND height = 0);

-- The manifest says which file holds which resource, and has the schemas.
CREATE OR REPLACE TEMP TABLE manifest AS
  SELECT CAST(content AS JSON) -> '$.tidemark' AS m
  FROM read_text(getvariable('store') || '/' || getvariable('prefix') || 's3db.json');

CREATE OR REPLACE TEMP TABLE resources AS
  SELECT unnest(m -> '$.resources[*]') AS r FROM manifest
  UNION ALL SELECT json_object('name', '', 'schema', m -> '$.schema', 'records', NULL, 'objects', m -> '$.objects') FROM manifest;

CREATE OR REPLACE TEMP TABLE files AS
  SELECT kind, resource, getvariable('store') || '/' || getvariable('prefix') || (f ->> '$.file') AS path,
    CAST(f ->> '$.records' AS BIGINT) AS records, CAST(f ->> '$.bytes' AS DOUBLE) AS bytes,
    CAST(f ->> '$.uncompressedBytes' AS DOUBLE) AS uncompressed, json_array_length(f -> '$.members') AS members,
    list_max(CAST(f ->> '$.members[*][1]' AS DOUBLE[])) AS largest
  FROM (
    SELECT 'record' AS kind, r ->> '$.name' AS resource, r -> '$.records' AS f FROM resources
    UNION ALL SELECT 'object', r ->> '$.name', r -> '$.objects' FROM resources
  )
  WHERE (f ->> '$.file') IS NOT NULL;

-- What a line may have: a gzip member ends with the line that makes it 512 KiB or more, but for the last of a file, and has
-- 512 MiB at most. Within that, three times what the largest member has if it is compressed as its file is.
SET VARIABLE line_bytes = coalesce(CAST(getvariable('longest') AS BIGINT), (
  SELECT CAST(greatest(1048576, max(least(536870912, uncompressed - 524288 * greatest(0, CAST(members AS BIGINT) - 2),
    524288 + 3 * largest * uncompressed / bytes))) AS BIGINT) FROM files));

-- A line is the record with one member more at its end: `,"_tidemark":{"id":…,"raw":…,"json":<bytes of the record>}}`.
-- Long lines are read as JSON, a few at a time; DuckDB gives the text of each as it stands. It takes no half of a surrogate
-- pair for JSON: files that have one, and those of short lines, are read as text, 2,048 lines at a time.
-- The snapshot of an empty database has no file at all.
SET VARIABLE no_lines = 'SELECT '''' AS line, '''' AS filename LIMIT 0';
SET VARIABLE read_long = $$ SELECT CAST(json AS VARCHAR) AS line, filename FROM read_json_objects(getvariable('long'),
    format = 'newline_delimited', compression = 'gzip', filename = true, ignore_errors = true,
    maximum_object_size = getvariable('line_bytes')) $$;
SET VARIABLE long = (SELECT list(path) FROM files WHERE uncompressed / records > 8192);
CREATE OR REPLACE TEMP TABLE whole AS
  SELECT filename FROM query(CASE WHEN getvariable('long') IS NULL THEN getvariable('no_lines') ELSE getvariable('read_long') END)
  GROUP BY filename HAVING count(line) = (SELECT any_value(records) FROM files WHERE path = filename);
SET VARIABLE long = (SELECT list(filename) FROM whole);
SET VARIABLE short = (SELECT list(path) FROM files WHERE path NOT IN (SELECT filename FROM whole));
SET VARIABLE read_long = CASE WHEN getvariable('long') IS NULL THEN getvariable('no_lines') ELSE getvariable('read_long') END;
SET VARIABLE read_short = CASE
  WHEN getvariable('short') IS NULL THEN getvariable('no_lines')
  ELSE $$ FROM read_csv(getvariable('short'),
    columns = {'line': 'VARCHAR'}, auto_detect = false, header = false, delim = E'\x01', quote = '', escape = '',
    comment = '', new_line = '\n', null_padding = false, compression = 'gzip', filename = true,
    max_line_size = getvariable('line_bytes'), buffer_size = getvariable('line_bytes') + 1, parallel = false) $$ END;

CREATE OR REPLACE TEMP VIEW snapshot_state AS
  SELECT kind, resource, CAST(tail[:raw_at - 1] AS JSON) ->> '$' AS id, decode(line[1:record_bytes - 1]) || '}' AS json,
    CAST(tail[raw_at + 7 : (-11 - length(record_bytes::VARCHAR))] AS JSON) AS raw_json
  FROM (
    -- No quote stands in an id but behind a backslash: the first of these is where it ends.
    SELECT *, instr(tail, ',"raw":') AS raw_at
    FROM (
      -- Behind `"_tidemark":{"id":`, and the comma where the record has members.
      SELECT kind, resource, line, record_bytes,
        decode(line[CASE WHEN record_bytes > 2 THEN record_bytes + 19 ELSE 20 END:]) AS tail
      FROM (
        SELECT filename, encode(line) AS line, CAST(regexp_extract(line, ',"json":(\d+)}}$', 1) AS BIGINT) AS record_bytes
        FROM (FROM query(getvariable('read_long')) UNION ALL FROM query(getvariable('read_short')))
      ) JOIN files ON path = filename
    )
  )
  UNION ALL
  SELECT 'schema', r ->> '$.name', '', r ->> '$.schema.json', r -> '$.schema.raw'
  FROM resources WHERE (r ->> '$.schema.json') IS NOT NULL;

SET VARIABLE read_events = CASE
  WHEN getvariable('needed') IS NULL
  THEN 'SELECT '''' AS kind, '''' AS resource, '''' AS record_id, '''' AS ulid, '''' AS after, ''''::BLOB AS after_raw LIMIT 0'
  ELSE 'FROM read_parquet(getvariable(''needed''))' END;

-- Of each item the last event after the snapshot and not after the moment: first which one it is, then what it says.
CREATE OR REPLACE TEMP TABLE last_events AS
  SELECT kind, resource, record_id AS id, max(ulid) AS ulid
  FROM query(getvariable('read_events'))
  WHERE ulid > getvariable('snapshot') AND ulid <= getvariable('until')
  GROUP BY ALL;

CREATE OR REPLACE TEMP VIEW state AS
  SELECT kind, resource, record_id AS id, after AS json, after_raw AS raw, CAST(NULL AS JSON) AS raw_json
  FROM query(getvariable('read_events')) SEMI JOIN last_events USING (ulid)
  WHERE after IS NOT NULL
  UNION ALL
  SELECT kind, resource, id, json, NULL, raw_json
  FROM snapshot_state ANTI JOIN last_events USING (kind, resource, id);
