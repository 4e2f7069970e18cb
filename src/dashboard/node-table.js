/** How each node of the shop fares, as any of them tells. */

import * as clock from "./clock.js";
import { NONE, count, millis, of, rate, span } from "./format.js";
import { part } from "./frames.js";
import { Rows, Shown, byId, element } from "./rows.js";
import { call, isSignedIn } from "./session.js";

/** A node that has been silent for longer is named so. */
const SILENT_MS = 2500;

let nodes = [];
let problem = "";
let isAsking = false;

function make() {
  const name = element("span", { class: "name" });
  const about = element("span", { class: "sku muted" });
  const [orders, queue, batch, commit, sockets] = [1, 2, 3, 4, 5].map(() => element("td", { class: "number" }));
  sockets.classList.add("narrow");
  const row = element("tr", {}, element("th", { scope: "row" }, name, " ", about), orders, queue, batch, commit, sockets);
  const text = Shown.text;
  const shown = {
    id: Shown.attribute(row, "data-node"),
    name: text(name),
    about: text(about),
    orders: text(orders),
    queue: text(queue),
    batch: text(batch),
    commit: text(commit),
    sockets: text(sockets),
  };
  const draw = (node) => {
    const hasBatches = node.batches > 0;
    shown.id.show(node.id);
    shown.name.show(node.name);
    shown.about.show(describe(node));
    shown.orders.show(node.window_s > 0 ? rate(node.orders / node.window_s) : NONE);
    shown.queue.show(count(node.queue));
    shown.batch.show(hasBatches ? `${count(node.batch_size_mean)} / ${count(node.batch_size_max)}` : NONE);
    shown.commit.show(hasBatches ? `${millis(node.commit_p50_us)} / ${millis(node.commit_p99_us)}` : NONE);
    shown.sockets.show(count(node.sockets));
  };
  return { element: row, draw };
}

function describe({ version, age_ms, started_at, is_self }) {
  if (age_ms > SILENT_MS) return `not heard of for ${span(age_ms / 1000)}`;
  const up = span(Math.max(clock.now() - Date.parse(started_at), 0) / 1000);
  return `${version}, up ${up}${is_self ? ", asked here" : ""}`;
}

const table = new Rows(byId("nodes"), make);
const note = Shown.text(byId("nodes-note"));
const touch = part(() => {
  table.show(nodes);
  note.show(problem ? `${problem} Trying again.` : nodes.length > 0 ? of(nodes.length, "node") : "Loading");
}, 200);

/** To be called every second while the page can be seen. */
export async function ask() {
  if (!isSignedIn() || isAsking) return;
  isAsking = true;
  try {
    nodes = (await call("GET", "/api/nodes/")).data;
    problem = "";
  } catch (error) {
    problem = error.message;
  }
  isAsking = false;
  touch();
}

/** Forgets what it knows. */
export function clear() {
  [nodes, problem] = [[], ""];
  touch();
}
