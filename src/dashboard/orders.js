/** The newest orders: read over REST once, then kept up by the order feed. */

import * as clock from "./clock.js";
import { nextPage } from "./http.js";
import * as sales from "./sales.js";
import { call } from "./session.js";

/** The most orders that are kept. */
const KEPT_MAX = 500;
/** How many are read when the feed greets: those shown, and some history for the chart. */
const FIRST_PAGE = 200;
const RETRY_MS = 3000;

/** What may come next, by status, the usual step first. */
const MOVES = {
  pending: ["pay", "cancel"],
  paid: ["ship", "cancel", "refund"],
  shipped: ["deliver", "refund"],
  delivered: ["refund"],
};

/** Each move: what to do, what is said then, and whether it is asked about first. */
export const WORDS = {
  pay: { verb: "Mark paid", done: "is paid" },
  ship: { verb: "Ship", done: "is shipped" },
  deliver: { verb: "Deliver", done: "is delivered" },
  cancel: { verb: "Cancel", done: "is cancelled; its units are back in stock", asks: true },
  refund: { verb: "Refund", done: "is refunded", asks: true },
};

/**
 * `run` is the greeting since which the feed has spoken of an order, as with products; `isCounted`
 * whether its placing came by the feed.
 * @type {Map<number, {id: number, user: number, status: string, total: string,
 *   placedAt: number|null, run: number, isCounted: boolean}>}
 */
let orders = new Map();
let changed = () => {};
/** Grows with every greeting and every session, so that answers of an earlier one are not taken. */
let run = 0;
/** The status that somebody looks at, if not at all. */
let followed = "";

/** Whether the first page is there. */
export const status = { isReady: false, problem: "" };

/** Calls `listener` when anything has changed. */
export function onChange(listener) {
  changed = listener;
}

/** Forgets everything: somebody else may sit down here. */
export function clear() {
  run += 1;
  orders = new Map();
  [status.isReady, status.problem] = [false, ""];
  sales.forget("orders");
  sales.forget("cents");
  changed();
}

/** The feed has greeted for the first time, or cannot go on where it was. */
export async function refresh() {
  run += 1;
  const reading = run;
  for (const what of ["orders", "cents"]) {
    sales.forget(what);
    sales.know(what, clock.now());
  }
  while (reading === run) {
    try {
      const { data, headers } = await call("GET", `/api/orders/?page_size=${FIRST_PAGE}`);
      if (reading !== run) return;
      orders = new Map([...orders].filter(([, order]) => order.run === run));
      count(data, nextPage(headers) !== null);
      data.forEach(keep);
      [status.isReady, status.problem] = [true, ""];
      return trim();
    } catch (error) {
      status.problem = error.message;
      changed();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** Gives the chart the time before the feed's greeting, as far back as these orders go. */
function count(rows, hasMore) {
  for (const row of rows) {
    if (orders.get(row.id)?.isCounted) continue;
    const at = Date.parse(row.created_at);
    sales.add("orders", at, 1);
    sales.add("cents", at, cents(row.total_price));
  }
  const oldest = rows.at(-1);
  const since = oldest && hasMore ? Date.parse(oldest.created_at) : 0;
  sales.know("orders", since);
  sales.know("cents", since);
}

/** Takes an order as REST shows it; what the feed has said since its greeting stands. */
function keep({ id, user, status, total_price: total, created_at }) {
  const known = orders.get(id);
  const placedAt = Date.parse(created_at);
  if (known) known.placedAt ??= placedAt;
  else orders.set(id, { id, user, status, total, placedAt, run: 0, isCounted: false });
}

/** Takes some more orders of one status, so that there is something to choose from, and keeps them. */
export async function fetchByStatus(wanted) {
  followed = wanted;
  if (!wanted) return;
  const reading = run;
  const { data } = await call("GET", `/api/orders/?page_size=50&status=${wanted}`);
  if (reading !== run) return;
  data.forEach(keep);
  trim();
}

/** An event of the order feed. */
export function apply({ order, user, event, status, total_price: total, at }) {
  const isPlaced = event === "placed";
  const time = Date.parse(at);
  let known = orders.get(order);
  if (!known) {
    known = { id: order, user, status, total, placedAt: isPlaced ? time : null, run, isCounted: isPlaced };
    orders.set(order, known);
    if (isPlaced) {
      sales.add("orders", time, 1);
      sales.add("cents", time, cents(total));
    }
  } else if (!isPlaced) {
    // Read over REST after it was placed, it may show what came later already.
    known.status = status;
    known.run = run;
  }
  if (orders.size > KEPT_MAX * 2) trim();
  changed();
}

/** Keeps the newest, and of the status that somebody looks at as many again. */
function trim() {
  if (orders.size > KEPT_MAX) {
    const all = [...orders.values()].sort((a, b) => b.id - a.id);
    const wanted = all.filter((order) => order.status === followed).slice(0, KEPT_MAX / 2);
    orders = new Map([...all.slice(0, KEPT_MAX), ...wanted].map((order) => [order.id, order]));
  }
  changed();
}

const cents = (total) => Math.round(Number(total) * 100);

/** An order by its number. */
export const get = (id) => orders.get(id);

/** The newest `size` orders, of one status if `wanted` names one, and how many of those there are. */
export function select(wanted, size) {
  const all = [...orders.values()].filter((order) => !wanted || order.status === wanted);
  // Numbers are given out in commit order, but for a few that overlap.
  all.sort((a, b) => b.id - a.id);
  return { rows: all.slice(0, size), matching: all.length };
}

/** The moves that an order of this status may make. */
export const moves = (status) => MOVES[status] ?? [];

/** What happened to an order, and what it is of. */
export async function read(id) {
  const [order, history] = await Promise.all([
    call("GET", `/api/orders/${id}/`),
    call("GET", `/api/orders/${id}/history/`),
  ]);
  return { order: order.data, history: history.data };
}
