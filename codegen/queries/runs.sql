-- Runs
-- Every run, the newest first: who began it, how it ended, and how many rows it read.
SELECT runs.run_id, runs.status, runs.started_at, runs.completed_at, run_processes.user_name, run_processes.host_name,
  run_processes.labels_json,
  (SELECT count(*) FROM rows WHERE rows.run_id = runs.run_id) AS row_count,
  (SELECT count(*) FROM token_outcomes AS ends
    WHERE ends.run_id = runs.run_id AND ends.outcome IN ('failed', 'quarantined')) AS failure_count
FROM runs
LEFT JOIN run_processes ON run_processes.run_id = runs.run_id AND run_processes.attempt = 0
ORDER BY runs.started_at DESC, runs.run_id DESC
