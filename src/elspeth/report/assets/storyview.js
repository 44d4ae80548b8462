import { keptContent, seenByGate } from "./contents.js";
import { folded, longList, longText } from "./dom.js";
import { element } from "./element.js";
import { drawPath } from "./path.js";
import { count, counted, visible } from "./text.js";

/** Characters shown of a hash; the record below has all of them. */
const HASH_LENGTH = 12;

/** Return the story of a row for the page; `open` is called with the row or token that the reader asks for. */
export function showStory(story, open) {
  const { row, source, tokens } = story;
  const view = element(
    "article",
    { class: "story", "aria-labelledby": "story-title" },
    element("h3", { id: "story-title", tabindex: "-1" }, `Row ${row.row_index} from ${nodeName(source)}`),
    facts({
      "row": code(row.row_id),
      "content": [hash(row.source_data_hash), keptContent(row.source_data_ref)],
      "read at": moment(row.created_at),
      "tokens": tokens.length ? null : "no token was recorded",
    }),
    drawPath(story),
    section("Errors of the source (of all rows with this content)", story.validation_errors, showValidationError, "h4"),
    tokens.map((token) => showToken(token, open)),
    section("What the source read", story.source_inputs, showInput, "h4"),
    section("What the source did", story.source_operations, showOperation, "h4"),
    section("Who carried out the run", story.processes, showProcess, "h4"),
    section("What the database of the predecessor also held", story.adopted_values, showAdopted, "h4"),
  );
  view.append(folded("The whole story as JSON", () => element("pre", { tabindex: "0" }, longText(JSON.stringify(story, null, 2)))));
  return view;
}

function showToken(story, open) {
  const { token } = story;
  const ended = story.outcomes.some((outcome) => outcome.is_terminal);
  return element(
    "section",
    { class: "token" },
    element("h4", {}, "Token ", code(token.token_id), token.branch_name ? ` on branch ${token.branch_name}` : ""),
    facts({
      "made by": [["fork", token.fork_group_id], ["merge", token.join_group_id], ["expansion", token.expand_group_id]]
        .filter(([, id]) => id)
        .map(([how, id]) => `${how} ${id}`)
        .join(", "),
      "made from": links(story.parents.map((parent) => parent.parent_token_id), open),
      "outcome": [story.outcomes.map((outcome) => element("span", {}, outcomeOf(outcome), record(outcome))), ended ? "" : stillOpen()],
      "merged into": links(story.merged_into.map((each) => each.token_id), open),
    }),
    story.made_by.map((batch) => showBatch(batch, "Came out of batch", open)),
    story.steps.length ? element("ol", { class: "steps" }, story.steps.map(showStep)) : "",
    section("Not processed", story.errors, (error) => showTransformError(error, story.steps)),
    story.batches.map((batch) => showBatch(batch, "Went into batch", open)),
    story.children.length ? element("div", { class: "children" }, story.children.map((child) => showToken(child, open))) : "",
  );
}

function showStep({ node, state, routes, calls, operations, artifacts }) {
  const attempt = state.attempt ? `, attempt ${state.attempt}` : "";
  const because = state.success_reason_json ?? null;
  return element(
    "li",
    { class: `step ${state.status}` },
    element(
      "p",
      {},
      sign(state.status),
      element("strong", {}, nodeName(node)),
      ` ${state.status}${attempt}${duration(state.duration_ms)}`,
    ),
    facts({
      "came in": hash(state.input_hash),
      "went out": state.output_hash && (state.output_hash === state.input_hash ? "the same" : hash(state.output_hash)),
      "because": because && longText(because),
      "error": errorOf(state.error_json),
      "sent along": routes.map(({ event, edge, target }) =>
        element("span", {}, `${edge.label} to ${nodeName(target)}, ${event.mode}`, seenByGate(event.reason_ref), keptContent(event.reason_ref), record(event)),
      ),
    }),
    section("Calls", calls, showCall),
    section("What the sink did", operations, showOperation),
    section("Artifacts", artifacts, showArtifact),
    record(state),
    record(node),
  );
}

function showCall(call) {
  return [
    element("p", {}, sign(call.status), `call ${call.call_index}, ${call.call_type}: ${call.status}${duration(call.latency_ms)}`),
    facts({
      "request": [hash(call.request_hash), keptContent(call.request_ref)],
      "answer": call.response_hash && [hash(call.response_hash), keptContent(call.response_ref)],
      "error": errorOf(call.error_json),
    }),
    record(call),
  ];
}

function showProcess(process) {
  const place = [process.user_name, process.host_name].filter(isThere).join("@");
  const about = process.attempt ? "resumed " : "begun ";
  return [
    element("p", {}, about, moment(process.started_at), place ? ` by ${place}` : ""),
    facts({
      "with": `elspeth ${process.elspeth_version}, ${process.python_version}, ${process.operating_system}`,
      "commit of the settings": process.repository_commit && [hash(process.repository_commit), process.repository_is_dirty ? ", with changes" : ""],
      "labels": process.labels_json && longText(process.labels_json),
    }),
    record(process),
  ];
}

function showInput(input) {
  const size = input.size_bytes === null ? "" : `, ${counted(input.size_bytes, "byte")}`;
  return [
    element("p", {}, `${input.input_type} `, input.path_or_uri ? code(input.path_or_uri) : "", `: ${counted(input.row_count, "row")}${size}`),
    facts({ "SHA-256": hash(input.content_hash), "query": input.query_text && longText(input.query_text) }),
    record(input),
  ];
}

function showOperation({ operation, calls }) {
  const about = `${operation.operation_type}: ${operation.status}${duration(operation.duration_ms)}`;
  return [
    element("p", {}, sign(operation.status), about),
    facts({
      "error": operation.error_message && longText(operation.error_message),
      "output": keptContent(operation.output_data_ref),
    }),
    section("Calls", calls, showCall),
    record(operation),
  ];
}

function showArtifact(artifact) {
  const about = element("p", {}, `${artifact.artifact_type} `, code(artifact.path_or_uri), `, ${counted(artifact.size_bytes, "byte")}`);
  return [about, facts({ "SHA-256": hash(artifact.content_hash) }), record(artifact)];
}

function showBatch({ batch, node, members, outputs }, verb, open) {
  const title = `${verb} ${batch.batch_id} of ${nodeName(node)}: ${batch.status}, ${counted(members.length, "member")}`;
  const mentioned = ({ token, row_index: row, outcome }) => [
    link(token.token_id, open),
    ` of row ${row}: ${outcome ? outcomeOf(outcome) : "has not ended"}`,
  ];
  const output = ({ output: made, token, artifact }) => {
    if (token) return mentioned(token);
    return artifact ? showArtifact(artifact) : `${made.output_type} ${made.output_id}, which is not in the run`;
  };
  return folded(title, () => [
    facts({ "triggered by": batch.trigger_type, "because": batch.trigger_reason && longText(batch.trigger_reason), "attempt": batch.attempt || null }),
    members.length ? [element("h5", {}, "Members"), longList(members, ({ token }) => element("span", {}, mentioned(token)))].flat() : "",
    outputs.length ? [element("h5", {}, "Outputs"), longList(outputs, (each) => element("div", {}, output(each)))].flat() : "",
    record(batch),
  ].flat());
}

function showValidationError(error) {
  return [element("p", {}, sign("failed"), `sent to ${error.destination}: `, longText(error.error)), record(error)];
}

function showTransformError(error, steps) {
  const step = steps.find(({ node }) => node.node_id === error.transform_id);
  const place = step ? nodeName(step.node) : error.transform_id;
  const details = errorOf(error.error_details_json) ?? "no details";
  return [element("p", {}, sign("failed"), `at ${place}, sent to ${error.destination}: `, details), record(error)];
}

function showAdopted(value) {
  return [element("p", {}, `${value.source_table} ${value.source_key}: `, longText(value.values_json)), record(value)];
}

/** Return a folded list with a title, or nothing for an empty one. */
function section(title, items, make, level = "h5") {
  if (!items.length) return "";
  const list = () => longList(items, (item) => element("div", {}, make(item)));
  return items.length > 3 ? folded(`${title} (${count(items.length)})`, list) : element("div", {}, element(level, {}, title), list());
}

/** Return all values of a record, to be opened. */
function record({ record_type: type, ...values }) {
  const show = (value) => (typeof value === "string" ? longText(value) : String(value));
  const rows = () => Object.entries(values).filter(([, value]) => value !== null);
  return folded(`record: ${type.replaceAll("_", " ")}`, () => definitions(rows().map(([name, value]) => [name, show(value)])), { class: "record" });
}

/** Return names and values as a list, without those that are empty. */
function facts(values) {
  const rows = Object.entries(values).map(([name, value]) => [name, [value].flat(9).filter(isThere)]);
  return definitions(rows.filter(([, value]) => value.length));
}

function definitions(rows) {
  return rows.length ? element("dl", { class: "facts" }, rows.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]).flat()) : "";
}

function isThere(value) {
  return value !== null && value !== undefined && value !== false && value !== "";
}

function outcomeOf(outcome) {
  const sink = outcome.sink_name ? ` to ${outcome.sink_name}` : "";
  const error = outcome.error_hash ? `, error ${outcome.error_hash.slice(0, HASH_LENGTH)}` : "";
  return `${outcome.outcome}${sink}${error}`;
}

/** Return the name of a step, which its id has between its type and a digest, with its plugin. */
function nodeName({ node_id: id, node_type: type, plugin_name: plugin, plugin_version: version }) {
  const name = id.startsWith(`${type}_`) ? id.slice(type.length + 1).replace(/_[0-9a-f]{8}$/, "") : id;
  return `${name} (${plugin} ${version})`;
}

/** Return the type and the message of an error, or the whole of it; the record below has all. */
function errorOf(json) {
  if (!json) return null;
  try {
    const { type, exception } = JSON.parse(json);
    if (typeof type === "string" && typeof exception === "string") return longText(`${type}: ${exception}`);
  } catch {
    // somebody else's words
  }
  return longText(json);
}

/** Return a time as the rest of the page has it, to the millisecond. */
function moment(text) {
  return element("time", { datetime: text }, text.replace(/^(.{10})T(.{12}).*Z$/, "$1 $2 UTC"));
}

function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "";
  return ` in ${milliseconds.toLocaleString("en", milliseconds < 10 ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: 0 })} ms`;
}

/** Return a mark that tells a failure by its shape. */
function sign(status) {
  const mark = { completed: "✓", success: "✓", failed: "✗", error: "✗", open: "…", pending: "…" }[status] ?? "•";
  return element("span", { class: `sign ${status}`, "aria-hidden": "true" }, mark, " ");
}

function stillOpen() {
  return element("strong", {}, "has not ended");
}

function hash(digest) {
  return digest ? element("code", { title: visible(digest) }, digest.slice(0, HASH_LENGTH)) : "";
}

function code(text) {
  return element("code", {}, text);
}

function link(tokenId, open) {
  return element("button", { type: "button", class: "link", click: () => open({ token: tokenId }) }, tokenId);
}

function links(tokenIds, open) {
  return tokenIds.map((id, place) => [place ? ", " : "", link(id, open)]).flat();
}
