/**
 * Return the story of a row with all its tokens.
 *
 * It is the object that `elspeth explain --row N --json` prints. `trail` has the method `records(type, column, values)`,
 * `types` gives the table and the key of each record type.
 */
export async function rowStory(trail, types, runId, rowIndex) {
  const [row] = await trail.records("row", "row_index", [rowIndex]);
  if (!row) throw new NotRecorded(`row ${rowIndex} is not among these records`);
  return storyOf(trail, types, runId, row, await trail.records("token", "row_id", [row.row_id]));
}

/** Return the story of a token and of its descendants. */
export async function tokenStory(trail, types, runId, tokenId) {
  const [token] = await trail.records("token", "token_id", [tokenId]);
  if (!token) throw new NotRecorded(`token ${tokenId} is not among these records`);
  const rows = await fetchReferred(trail, "row", "row_id", [token], "row_id");
  return storyOf(trail, types, runId, rows.get(token.row_id), [token]);
}

/** The records have no such row or token. */
export class NotRecorded extends Error {}

async function storyOf(trail, types, runId, row, start) {
  const [run] = await trail.records("run", "run_id", [runId]);
  const sources = await fetchReferred(trail, "node", "node_id", [row], "source_node_id");
  const source = sources.get(row.source_node_id);
  const processes = await trail.records("run_process", "run_id", [runId]);
  const inputs = await trail.records("source_input", "node_id", [source.node_id]);
  const errors = await trail.records("validation_error", "row_hash", [row.source_data_hash]);
  const tokens = await withDescendants(trail, start);
  const operations = await readOperations(trail, [source.node_id]);
  const story = {
    run_id: run.run_id,
    run_status: run.status,
    processes: processes.sort(by("attempt")),
    row,
    source,
    source_inputs: inputs.sort(by("ordinal")),
    source_operations: operations.get(source.node_id) ?? [],
    validation_errors: errors.sort(by("created_at", "error_id")),
    tokens: await tokenStories(trail, tokens),
  };
  return { ...story, adopted_values: await readAdopted(trail, types, [run, ...recordsIn(story)], [...tokens.keys()]) };
}

/** Yield all records in a story, some more than once. */
export function* recordsIn(value) {
  if (value === null || typeof value !== "object") return;
  if (!Array.isArray(value) && value.record_type) yield value;
  else for (const part of Object.values(value)) yield* recordsIn(part);
}

async function readAdopted(trail, types, known, tokenIds) {
  const wanted = new Set();
  const keys = new Set();
  for (const record of known) {
    const { table, key } = types[record.record_type];
    const [run, ...others] = key.map((name) => record[name]);
    for (const parts of others.length ? [others, [...others, run]] : [[run]]) {
      keys.add(JSON.stringify(parts));
      wanted.add(JSON.stringify([table, JSON.stringify(parts)]));
    }
  }
  const placeOf = (value) => JSON.stringify([value.source_table, value.source_key]);
  const found = await trail.records("adopted_value", "source_key", keys);
  const named = await trail.records("adopted_value", "token_id", tokenIds);
  const kept = new Map();
  for (const value of found) if (wanted.has(placeOf(value))) kept.set(placeOf(value), value);
  for (const value of named) kept.set(placeOf(value), value);
  return [...kept.values()].sort(by("source_table", "source_key"));
}

async function withDescendants(trail, start) {
  const found = new Map(start.map((token) => [token.token_id, token]));
  let latest = [...found.keys()];
  while (latest.length) {
    const links = await trail.records("token_parent", "parent_token_id", latest);
    const fresh = links.filter((link) => !found.has(link.token_id));
    const tokens = await fetchReferred(trail, "token", "token_id", fresh, "token_id");
    for (const [id, token] of tokens) found.set(id, token);
    latest = [...tokens.keys()];
  }
  return found;
}

async function tokenStories(trail, tokens) {
  const ids = [...tokens.keys()];
  const parents = await fetchGrouped(trail, "token_parent", "token_id", ids, "ordinal", "parent_token_id");
  const links = new Map();
  for (const id of ids.sort(compare)) {
    links.set(id, (parents.get(id) ?? []).filter((link) => tokens.has(link.parent_token_id)));
  }
  const steps = await readSteps(trail, ids);
  const batches = await readBatches(trail, ids);
  const outcomes = await fetchGrouped(trail, "token_outcome", "token_id", ids, "recorded_at", "outcome_id");
  const errors = await fetchGrouped(trail, "transform_error", "token_id", ids, "created_at", "error_id");
  const inOrder = orderMade(tokens, links);
  const children = new Map();
  for (const token of inOrder) for (const link of links.get(token.token_id)) append(children, link.parent_token_id, token);
  const stories = new Map();
  for (const id of childrenFirst(links, children)) {
    const made = children.get(id) ?? [];
    const isFirst = (child) => links.get(child.token_id)[0].parent_token_id === id;
    stories.set(id, {
      token: tokens.get(id),
      parents: parents.get(id) ?? [],
      made_by: batches.madeBy.get(id) ?? [],
      steps: steps.get(id) ?? [],
      errors: errors.get(id) ?? [],
      batches: batches.joined.get(id) ?? [],
      outcomes: outcomes.get(id) ?? [],
      children: made.filter(isFirst).map((child) => stories.get(child.token_id)),
      merged_into: made.filter((child) => !isFirst(child)),
    });
  }
  return inOrder.filter((token) => !links.get(token.token_id).length).map((token) => stories.get(token.token_id));
}

/** Return the tokens in the order they were made; those made at once are in the order of their ordinals. */
function orderMade(tokens, links) {
  const ordinal = (token) => links.get(token.token_id)[0]?.ordinal ?? -1;
  return [...tokens.values()].sort(
    (one, other) =>
      compare(one.created_at, other.created_at) ||
      ordinal(one) - ordinal(other) ||
      compare(one.token_id, other.token_id),
  );
}

/** Return the token ids, each after those of its children. */
function childrenFirst(links, children) {
  const waiting = new Map([...links.keys()].map((id) => [id, (children.get(id) ?? []).length]));
  const order = [...links.keys()].filter((id) => !waiting.get(id));
  for (let at = 0; at < order.length; at += 1) {
    for (const link of links.get(order[at])) {
      const left = waiting.get(link.parent_token_id) - 1;
      waiting.set(link.parent_token_id, left);
      if (!left) order.push(link.parent_token_id);
    }
  }
  if (order.length < links.size) throw new Error("a token of this row is recorded as its own ancestor");
  return order;
}

async function readSteps(trail, tokenIds) {
  const visits = await fetchGrouped(trail, "node_state", "token_id", tokenIds, "step_index", "attempt", "state_id");
  const states = [...visits.values()].flat();
  const ids = states.map((state) => state.state_id);
  const nodes = await fetchReferred(trail, "node", "node_id", states, "node_id");
  const routes = await readRoutes(trail, ids);
  const calls = await fetchGrouped(trail, "call", "state_id", ids, "call_index", "call_id");
  const sinks = [...nodes.values()].filter((node) => node.node_type === "sink").map((node) => node.node_id);
  const operations = await readOperations(trail, sinks);
  const artifacts = await artifactsOfStates(trail, states);
  return mapValues(visits, (group) =>
    group.map((state) => ({
      node: nodes.get(state.node_id),
      state,
      routes: routes.get(state.state_id) ?? [],
      calls: calls.get(state.state_id) ?? [],
      operations: operations.get(state.node_id) ?? [],
      artifacts: artifacts.get(state.state_id) ?? [],
    })),
  );
}

async function readOperations(trail, nodeIds) {
  const found = await fetchGrouped(trail, "operation", "node_id", nodeIds, "started_at", "operation_id");
  const ids = [...found.values()].flat().map((operation) => operation.operation_id);
  const calls = await fetchGrouped(trail, "call", "operation_id", ids, "call_index", "call_id");
  return mapValues(found, (group) =>
    group.map((operation) => ({ operation, calls: calls.get(operation.operation_id) ?? [] })),
  );
}

async function readRoutes(trail, stateIds) {
  const found = await fetchGrouped(trail, "routing_event", "state_id", stateIds, "created_at", "ordinal", "event_id");
  const edges = await fetchReferred(trail, "edge", "edge_id", [...found.values()].flat(), "edge_id");
  const targets = await fetchReferred(trail, "node", "node_id", [...edges.values()], "to_node_id");
  return mapValues(found, (group) =>
    group.map((event) => {
      const edge = edges.get(event.edge_id);
      return { event, edge, target: targets.get(edge.to_node_id) };
    }),
  );
}

/** Return the artifacts that each visit made; a completed visit that made none gets those of its node. */
async function artifactsOfStates(trail, states) {
  const order = ["created_at", "artifact_id"];
  const ids = states.map((state) => state.state_id);
  const made = await fetchGrouped(trail, "artifact", "produced_by_state_id", ids, ...order);
  const others = states.filter((state) => state.status === "completed" && !made.has(state.state_id));
  const nodeIds = others.map((state) => state.node_id);
  const ofNode = await fetchGrouped(trail, "artifact", "sink_node_id", nodeIds, ...order);
  for (const state of others) made.set(state.state_id, ofNode.get(state.node_id) ?? []);
  return made;
}

async function readBatches(trail, tokenIds) {
  const memberships = await trail.records("batch_member", "token_id", tokenIds);
  const named = await trail.records("batch_output", "output_id", tokenIds);
  const outputs = named.filter((output) => output.output_type === "token");
  const batches = await fetchReferred(trail, "batch", "batch_id", [...memberships, ...outputs], "batch_id");
  const stories = await readBatchStories(trail, batches);
  return {
    joined: batchesByToken(stories, memberships, "token_id"),
    madeBy: batchesByToken(stories, outputs, "output_id"),
  };
}

function batchesByToken(stories, records, column) {
  const found = new Map();
  for (const record of records) append(found, record[column], stories.get(record.batch_id));
  const order = by("created_at", "batch_id");
  for (const group of found.values()) group.sort((one, other) => order(one.batch, other.batch));
  return found;
}

async function readBatchStories(trail, batches) {
  const ids = [...batches.keys()];
  const nodes = await fetchReferred(trail, "node", "node_id", [...batches.values()], "aggregation_node_id");
  const members = await fetchGrouped(trail, "batch_member", "batch_id", ids, "ordinal");
  const outputs = await fetchGrouped(trail, "batch_output", "batch_id", ids, "batch_output_id");
  const made = [...outputs.values()].flat();
  const namedBy = (type) => made.filter((each) => each.output_type === type).map((each) => each.output_id);
  const tokens = await readMentioned(trail, [...members.values()].flat(), namedBy("token"));
  const artifacts = new Map();
  for (const each of await trail.records("artifact", "artifact_id", namedBy("artifact"))) artifacts.set(each.artifact_id, each);
  return mapValues(batches, (batch, id) => ({
    batch,
    node: nodes.get(batch.aggregation_node_id),
    members: (members.get(id) ?? []).map((member) => ({ member, token: tokens.get(member.token_id) })),
    outputs: (outputs.get(id) ?? []).map((output) => ({
      output,
      token: (output.output_type === "token" && tokens.get(output.output_id)) || null,
      artifact: (output.output_type === "artifact" && artifacts.get(output.output_id)) || null,
    })),
  }));
}

async function readMentioned(trail, members, named) {
  const tokens = await fetchReferred(trail, "token", "token_id", members, "token_id");
  for (const token of await trail.records("token", "token_id", named)) tokens.set(token.token_id, token);
  const rows = await fetchReferred(trail, "row", "row_id", [...tokens.values()], "row_id");
  const outcomes = await fetchGrouped(
    trail, "token_outcome", "token_id", [...tokens.keys()], "is_terminal", "recorded_at", "outcome_id",
  );
  return mapValues(tokens, (token, id) => ({
    token,
    row_index: rows.get(token.row_id).row_index,
    outcome: outcomes.get(id)?.at(-1) ?? null,
  }));
}

/** Return the records with these values, grouped by value, each group in the order of the columns. */
async function fetchGrouped(trail, type, column, values, ...order) {
  const groups = new Map();
  for (const record of (await trail.records(type, column, values)).sort(by(...order))) append(groups, record[column], record);
  return groups;
}

/** Return the records that a column of the sources names, by their key. */
async function fetchReferred(trail, type, key, sources, column) {
  const wanted = new Set(sources.map((source) => source[column]));
  const found = new Map((await trail.records(type, key, wanted)).map((record) => [record[key], record]));
  for (const id of wanted) if (!found.has(id)) throw new Error(`the ${type} ${id} is not among these records`);
  return found;
}

function append(groups, key, value) {
  if (!groups.has(key)) groups.set(key, []);
  groups.get(key).push(value);
}

function mapValues(map, make) {
  return new Map([...map].map(([key, value]) => [key, make(value, key)]));
}

/** Return a comparison of records by columns. */
function by(...columns) {
  return (one, other) => columns.reduce((found, name) => found || compare(one[name], other[name]), 0);
}

/** Compare values as Python does: texts by code points. */
function compare(one, other) {
  if (one === other) return 0;
  if (typeof one !== "string") return one < other ? -1 : 1;
  for (let at = 0; at < one.length && at < other.length; at += 1) {
    if (one[at] === other[at]) continue;
    const isSurrogate = /[\ud800-\udfff]/.test(one[at]);
    if (isSurrogate !== /[\ud800-\udfff]/.test(other[at])) return isSurrogate ? 1 : -1;
    return one[at] < other[at] ? -1 : 1;
  }
  return one.length - other.length;
}
