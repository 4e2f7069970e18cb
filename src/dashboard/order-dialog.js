/** One order: what it is of, what happened to it, and what may come next. */

import { count, moment, money } from "./format.js";
import { move } from "./order-moves.js";
import * as orders from "./orders.js";
import { byId, element } from "./rows.js";

const dialog = byId("order-dialog");
const choices = byId("order-moves");
let shown = null;

export async function open(id) {
  shown = id;
  byId("order-dialog-title").textContent = `Order ${id}`;
  byId("order-dialog-note").textContent = "Loading";
  byId("order-error").textContent = "";
  for (const list of ["order-lines", "order-history"]) byId(list).replaceChildren();
  offer("");
  if (!dialog.open) dialog.showModal();
  await load(id);
}

async function load(id) {
  try {
    const { order, history } = await orders.read(id);
    if (shown === id) show(order, history);
  } catch (error) {
    if (shown !== id) return;
    byId("order-dialog-note").textContent = "";
    byId("order-error").textContent = error.status === 404 ? "There is no such order." : error.message;
  }
}

function show(order, history) {
  byId("order-dialog-note").textContent =
    `${order.status}, ${money(order.total_price)} in all, customer ${order.user}` +
    (order.status === "pending" ? `; its stock is held until ${moment(Date.parse(order.expires_at))}` : "");
  byId("order-lines").replaceChildren(...order.items.map(line));
  byId("order-history").replaceChildren(...history.map(entry));
  offer(order.status);
}

function line({ name, quantity, price, subtotal }) {
  const number = (text) => element("td", { class: "number" }, text);
  return element("tr", {}, element("th", { scope: "row" }, name), number(count(quantity)), number(money(price)), number(money(subtotal)));
}

function entry({ event, at, by }) {
  const who = by === null ? "by the shop" : `by user ${by}`;
  return element("li", {}, element("b", {}, event), ` ${moment(Date.parse(at))} ${who}`);
}

/** A button for each move that an order of this status may make. */
function offer(status) {
  choices.querySelectorAll("[data-move]").forEach((button) => button.remove());
  const steps = orders.moves(status);
  // The usual step stands last, where the eye ends and the thumb is.
  for (const step of [...steps].reverse()) {
    const { verb, asks } = orders.WORDS[step];
    const button = element("button", { type: "button", "data-move": step, class: asks ? "danger" : "primary" }, verb);
    button.addEventListener("click", () => take(step, button));
    choices.append(button);
  }
}

async function take(step, button) {
  const { verb, asks } = orders.WORDS[step];
  // What cannot be taken back takes a second press.
  if (asks && !button.dataset.sure) {
    button.dataset.sure = "yes";
    button.textContent = `${verb} for good`;
    return;
  }
  const id = shown;
  if (await move(id, step, button)) await load(id);
}

dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => (shown = null));
