-- Failures by reason
-- Why rows failed in a run, the most frequent reason first, with the first row that failed for it. Without a run id it is the newest run.
WITH chosen AS (
  SELECT run_id FROM runs
  WHERE :run_id = '' OR run_id = :run_id
  ORDER BY started_at DESC, run_id DESC LIMIT 1
), failures AS (
  SELECT node_states.node_id AS node, rows.row_index,
    CASE WHEN json_valid(error_json) THEN json_extract(error_json, '$.type') END AS kind,
    CASE WHEN json_valid(error_json) THEN coalesce(json_extract(error_json, '$.exception'), error_json) ELSE error_json END
      AS reason
  FROM node_states JOIN tokens USING (run_id, token_id) JOIN rows USING (run_id, row_id)
  WHERE node_states.run_id = (SELECT run_id FROM chosen) AND node_states.status = 'failed'
  UNION ALL
  SELECT validation_errors.node_id, rows.row_index, 'invalid row', validation_errors.error
  FROM validation_errors
  LEFT JOIN rows ON rows.run_id = validation_errors.run_id AND rows.source_data_hash = validation_errors.row_hash
  WHERE validation_errors.run_id = (SELECT run_id FROM chosen)
    AND NOT EXISTS (
      SELECT 1 FROM tokens JOIN node_states USING (run_id, token_id)
      WHERE tokens.run_id = rows.run_id AND tokens.row_id = rows.row_id AND node_states.status = 'failed')
)
SELECT count(*) AS failures, node, kind, reason, min(row_index) AS first_row
FROM failures
GROUP BY node, kind, reason
ORDER BY failures DESC, node, reason
