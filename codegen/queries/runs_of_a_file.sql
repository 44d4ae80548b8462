-- Runs that read a file
-- The runs that read the bytes with this SHA-256, which `sha256sum FILE` prints. Without a hash, the inputs of all runs.
SELECT source_inputs.run_id, runs.started_at, runs.status, source_inputs.input_type, source_inputs.path_or_uri,
  source_inputs.query_text, source_inputs.size_bytes, source_inputs.row_count, source_inputs.content_hash
FROM source_inputs JOIN runs USING (run_id)
WHERE :content_hash = '' OR source_inputs.content_hash = :content_hash
ORDER BY runs.started_at DESC, source_inputs.run_id, source_inputs.node_id, source_inputs.ordinal
