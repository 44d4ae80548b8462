-- The slowest nodes
-- How long the visits of each node of a run took, in milliseconds, the node with the most time first. Without a run id it is the newest run.
WITH chosen AS (
  SELECT run_id FROM runs
  WHERE :run_id = '' OR run_id = :run_id
  ORDER BY started_at DESC, run_id DESC LIMIT 1
)
SELECT nodes.node_id AS node, nodes.node_type, nodes.plugin_name, count(*) AS visits,
  round(sum(node_states.duration_ms), 3) AS total_ms, round(avg(node_states.duration_ms), 3) AS mean_ms,
  round(max(node_states.duration_ms), 3) AS longest_ms
FROM node_states JOIN nodes USING (run_id, node_id)
WHERE node_states.run_id = (SELECT run_id FROM chosen)
GROUP BY nodes.run_id, nodes.node_id
ORDER BY total_ms DESC, node
