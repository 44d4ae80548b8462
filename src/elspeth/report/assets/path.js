import { visible } from "./text.js";

/**
 * Return the graph of the page with the path of a row in it, or nothing if the page has no graph.
 *
 * The drawing names its nodes in `data-node`, its edges in `data-from` and `data-to`. The numbers of the whole run are left out.
 */
export function drawPath(story) {
  const drawn = document.querySelector("#graph svg");
  if (!drawn) return "";
  const { nodes, edges } = pathOf(story);
  const copy = drawn.cloneNode(true);
  copy.classList.add("path");
  for (const counted of copy.querySelectorAll(".badge")) counted.remove();
  for (const label of copy.querySelectorAll("text.label")) showLabel(label);
  for (const node of copy.querySelectorAll("[data-node]")) {
    const status = nodes.get(node.dataset.node);
    node.classList.add(...(status ? ["visited", status] : ["unvisited"]));
  }
  for (const edge of copy.querySelectorAll("[data-from]")) {
    edge.classList.add(edges.has(edgeKey(edge.dataset.from, edge.dataset.to)) ? "visited" : "unvisited");
  }
  const about = `The path of row ${story.row.row_index}: ${[...nodes].map(([id, status]) => `${id} ${status}`).join(", ")}`;
  copy.querySelector("title").textContent = visible(about);
  return copy;
}

/** Leave the count out of an edge's label, and the label if it has nothing else. */
function showLabel(label) {
  const edge = label.parentElement;
  if (edge.dataset.label) label.textContent = visible(edge.dataset.label);
  else edge.remove();
}

/** Return the nodes that a row visited, with how the last visit ended, and the pairs of nodes between which it went. */
export function pathOf(story) {
  const nodes = new Map([[story.source.node_id, story.validation_errors.length ? "failed" : "completed"]]);
  const edges = new Set();
  const follow = (token, before) => {
    let last = before;
    for (const { node, state, routes } of token.steps) {
      if (last !== null && last !== node.node_id) edges.add(edgeKey(last, node.node_id));
      for (const { target } of routes) edges.add(edgeKey(node.node_id, target.node_id));
      nodes.set(node.node_id, state.status);
      last = node.node_id;
    }
    for (const child of token.children) follow(child, last);
  };
  for (const token of story.tokens) follow(token, token.parents.length ? null : story.source.node_id);
  return { nodes, edges };
}

function edgeKey(from, to) {
  return JSON.stringify([from, to]);
}
