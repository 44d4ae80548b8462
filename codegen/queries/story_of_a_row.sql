-- The story of a row
-- What happened to one row, in order: visits, calls, edges and ends of its tokens. Rows are counted from 0; without a run id it is a row of the newest run. `elspeth explain` tells the same story with batches and artifacts.
WITH chosen AS (
  SELECT run_id FROM runs
  WHERE :run_id = '' OR run_id = :run_id
  ORDER BY started_at DESC, run_id DESC LIMIT 1
), journeys AS (
  SELECT tokens.run_id, tokens.token_id, tokens.branch_name
  FROM rows JOIN tokens USING (run_id, row_id)
  WHERE rows.run_id = (SELECT run_id FROM chosen) AND rows.row_index = CAST(:row_index AS INTEGER)
), visits AS (
  SELECT journeys.branch_name, node_states.*, nodes.plugin_name
  FROM journeys JOIN node_states USING (run_id, token_id) JOIN nodes USING (run_id, node_id)
)
SELECT token_id, branch_name, step, node, event, result, at, details FROM (
  SELECT token_id, branch_name, step_index AS step, 1 AS place, node_id AS node, plugin_name || ' visited' AS event,
    status AS result, started_at AS at, coalesce(error_json, success_reason_json) AS details
  FROM visits
  UNION ALL
  SELECT token_id, branch_name, step_index, 2, node_id, calls.call_type || ' called', calls.status, calls.created_at,
    calls.error_json
  FROM visits JOIN calls USING (run_id, state_id)
  UNION ALL
  SELECT token_id, branch_name, step_index, 3, node_id, 'sent along ' || edges.label, routing_events.mode,
    routing_events.created_at, edges.to_node_id
  FROM visits JOIN routing_events USING (run_id, state_id) JOIN edges USING (run_id, edge_id)
  UNION ALL
  SELECT token_id, branch_name, 9007199254740991, 4, NULL, 'ended', outcome, recorded_at, sink_name
  FROM journeys JOIN token_outcomes USING (run_id, token_id)
)
ORDER BY token_id, step, place, at
