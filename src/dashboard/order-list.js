/** The live list of orders. */

import * as clock from "./clock.js";
import { NONE, count, money, when } from "./format.js";
import { part } from "./frames.js";
import { say } from "./messages.js";
import { open } from "./order-dialog.js";
import { move } from "./order-moves.js";
import * as orders from "./orders.js";
import { Hold, Rows, Shown, byId, element } from "./rows.js";

/** A phone has less room. */
const SHOWN = matchMedia("(max-width: 700px)").matches ? 10 : 20;

const body = byId("orders");
const holdButton = byId("orders-hold");
let wanted = "";
let rows = [];

function make() {
  const number = element("button", { type: "button", class: "link" });
  const badge = element("span", { class: "badge" });
  const [total, user, placed] = [1, 2, 3].map(() => element("td", { class: "number" }));
  user.classList.add("wide");
  placed.classList.add("narrow");
  const next = element("button", { type: "button" });
  const row = element(
    "tr",
    {},
    element("th", { scope: "row" }, number),
    element("td", {}, badge),
    total,
    user,
    placed,
    element("td", { class: "action" }, next),
  );
  let order = null;
  number.addEventListener("click", () => open(order.id));
  next.addEventListener("click", () => move(order.id, orders.moves(order.status)[0], next));
  const shown = {
    id: Shown.attribute(row, "data-order"),
    status: Shown.attribute(row, "data-status"),
    numberLabel: Shown.attribute(number, "aria-label"),
    move: Shown.attribute(next, "data-move"),
    label: Shown.attribute(next, "aria-label"),
    number: Shown.text(number),
    badge: Shown.text(badge),
    total: Shown.text(total),
    user: Shown.text(user),
    placed: Shown.text(placed),
    next: Shown.text(next),
  };
  const draw = (item) => {
    order = item;
    const [step] = orders.moves(item.status);
    const verb = step ? orders.WORDS[step].verb : "";
    // Asked about first, so better done where the whole order is to be seen.
    const isPlain = Boolean(step) && !orders.WORDS[step].asks;
    shown.id.show(item.id);
    shown.status.show(item.status);
    shown.number.show(String(item.id));
    shown.numberLabel.show(`Open order ${item.id}`);
    shown.badge.show(item.status);
    shown.total.show(money(item.total));
    shown.user.show(String(item.user));
    shown.placed.show(item.placedAt === null ? NONE : when(item.placedAt, clock.now()));
    next.hidden = !isPlain;
    shown.move.show(isPlain ? step : null);
    shown.label.show(isPlain ? `${verb}: order ${item.id}` : null);
    shown.next.show(isPlain ? verb : "");
  };
  return { element: row, draw };
}

const table = new Rows(body, make);
const hold = new Hold(body, () => touch());
const isPressed = () => holdButton.getAttribute("aria-pressed") === "true";

function draw() {
  const found = orders.select(wanted, SHOWN);
  const isHeld = rows.length > 0 && (isPressed() || hold.isOn);
  if (!isHeld) rows = found.rows;
  table.show(rows);
  tell(found, isHeld);
}

function tell({ rows: newest, matching }, isHeld) {
  const { status } = orders;
  const newer = isHeld ? newest.filter((order) => order.id > rows[0].id).length : 0;
  const held = byId("orders-held");
  held.hidden = !isHeld;
  held.textContent = newer === 0 ? " · held still" : ` · held still, ${newer < SHOWN ? count(newer) : `${SHOWN} or more`} newer`;
  const note = byId("orders-note");
  if (status.problem) note.textContent = `${status.problem} Trying again.`;
  else if (!status.isReady) note.textContent = "Loading";
  else note.textContent = matching > SHOWN ? `the newest ${SHOWN}` : "";
  const empty = byId("orders-empty");
  empty.hidden = matching > 0 || !status.isReady;
  empty.textContent = wanted ? `No order is ${wanted}.` : "No orders yet. The first one will appear here by itself.";
}

byId("orders-filter").addEventListener("change", ({ target }) => {
  wanted = target.value;
  rows = [];
  touch();
  orders.fetchByStatus(wanted).catch((error) => say("bad", error.message));
});
holdButton.addEventListener("click", () => {
  holdButton.setAttribute("aria-pressed", String(!isPressed()));
  touch();
});
byId("order-find").addEventListener("submit", (event) => {
  event.preventDefault();
  open(Number(byId("order-number").value));
});

/** To be called when an order has changed. */
export const touch = part(draw, 200);
