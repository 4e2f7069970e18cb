/** The stock: a page of the products, as they sell. */

import * as clock from "./clock.js";
import { showLevels } from "./figures.js";
import { NONE, count, money, of, rate, span } from "./format.js";
import { part } from "./frames.js";
import { Hold, Rows, Shown, byId, element } from "./rows.js";
import { open } from "./stock-dialog.js";
import * as stock from "./stock.js";

const PAGE = 20;
const SEARCH_PAUSE_MS = 300;
const LIMIT_KEY = "emporium-low-limit";
const LEVELS = { out: "Sold out", low: "Low", "": "" };

const body = byId("stock");
const view = { text: "", filter: "all", sort: "lasts", lowLimit: 10, from: 0, size: PAGE };
let rows = [];
let found = { matching: 0, all: 0 };

function make() {
  const name = element("span", { class: "name" });
  const sku = element("span", { class: "sku muted" });
  const level = element("span", { class: "badge" });
  const number = element("span");
  const [pace, lasts, price] = [1, 2, 3].map(() => element("td", { class: "number" }));
  pace.classList.add("wide");
  price.classList.add("wide");
  const change = element("button", { type: "button", "data-adjust": "" }, "Change");
  const row = element(
    "tr",
    {},
    element("th", { scope: "row" }, name, " ", sku),
    element("td", { class: "number" }, level, " ", number),
    pace,
    lasts,
    price,
    element("td", { class: "action signed-in-only" }, change),
  );
  let product = null;
  change.addEventListener("click", () => open(product));
  const shown = {
    id: Shown.attribute(row, "data-product"),
    stock: Shown.attribute(row, "data-stock"),
    level: Shown.attribute(row, "data-level"),
    label: Shown.attribute(change, "aria-label"),
    name: Shown.text(name),
    title: Shown.attribute(name, "title"),
    sku: Shown.text(sku),
    number: Shown.text(number),
    badge: Shown.text(level),
    pace: Shown.text(pace),
    lasts: Shown.text(lasts),
    price: Shown.text(price),
  };
  const draw = (item) => {
    product = item;
    const now = clock.now();
    const is = stock.level(item, now, view.lowLimit);
    const aMinute = item.pace(now) * 60;
    shown.id.show(item.id);
    shown.stock.show(item.stock);
    shown.level.show(is);
    shown.label.show(`Change the stock of ${item.name}`);
    shown.name.show(item.name);
    shown.title.show(item.name);
    shown.sku.show(item.sku);
    shown.number.show(count(item.stock));
    shown.badge.show(LEVELS[is]);
    shown.pace.show(aMinute < 0.05 ? NONE : rate(aMinute));
    const seconds = aMinute < 0.05 || item.stock === 0 ? NaN : item.lasts(now);
    shown.lasts.show(Number.isNaN(seconds) ? NONE : span(seconds));
    shown.price.show(money(item.price));
  };
  return { element: row, draw };
}

const table = new Rows(body, make);
const hold = new Hold(body, () => choose());

/** Which products stand where. */
const choose = part(() => {
  const isHeld = hold.isOn && rows.length > 0;
  found = stock.select(view);
  if (!isHeld) rows = found.rows;
  byId("stock-held").hidden = !isHeld;
  showLevels(found);
  tell();
  draw();
}, 1000);

const draw = part(() => table.show(rows), 100);

/** Chooses at once, whatever is held still. */
function look(change) {
  Object.assign(view, { from: 0 }, change);
  found = stock.select(view);
  rows = found.rows;
  tell();
  draw();
}

function tell() {
  const { status } = stock;
  const { matching, all } = found;
  const note = byId("stock-note");
  if (status.problem) note.textContent = `${status.problem} Trying again.`;
  else if (!status.isReady) note.textContent = `Loading the catalogue${status.loaded ? `, ${count(status.loaded)} so far` : ""}`;
  else if (!status.isWhole) note.textContent = `${of(all, "product")} of a larger catalogue; a search looks at all of it`;
  else note.textContent = of(all, "product");
  const empty = byId("stock-empty");
  empty.hidden = matching > 0 || !status.isReady;
  empty.textContent = nothing(all);
  const last = Math.min(view.from + PAGE, matching);
  byId("stock-pages").hidden = matching <= PAGE;
  byId("stock-range").textContent = `${count(view.from + 1)} to ${count(last)} of ${count(matching)}`;
  byId("stock-previous").disabled = view.from === 0;
  byId("stock-next").disabled = last >= matching;
}

function nothing(all) {
  if (all === 0) return "There are no products yet.";
  if (view.text) return "No product matches.";
  return view.filter === "out" ? "Nothing is sold out." : "Nothing runs low.";
}

function limit(text) {
  const number = Number(text);
  if (text !== "" && Number.isInteger(number) && number >= 0) view.lowLimit = number;
}

let searchTimer = null;
byId("stock-search").addEventListener("input", ({ target }) => {
  look({ text: target.value });
  clearTimeout(searchTimer);
  searchTimer = setTimeout(() => stock.fetchMatches(target.value.trim()).catch(() => {}), SEARCH_PAUSE_MS);
});
byId("stock-filter").addEventListener("change", ({ target }) => look({ filter: target.value }));
byId("stock-sort").addEventListener("change", ({ target }) => look({ sort: target.value }));
byId("low-limit").addEventListener("change", ({ target }) => {
  limit(target.value);
  try { localStorage.setItem(LIMIT_KEY, view.lowLimit); } catch { /* then it lasts as long as the page */ }
  look({});
});
byId("stock-tools").addEventListener("submit", (event) => event.preventDefault());
byId("stock-previous").addEventListener("click", () => look({ from: Math.max(view.from - PAGE, 0) }));
byId("stock-next").addEventListener("click", () => look({ from: view.from + PAGE }));

try { limit(localStorage.getItem(LIMIT_KEY) ?? ""); } catch { /* as above */ }
byId("low-limit").value = view.lowLimit;

/** To be called when a product has changed. */
export function touch() {
  draw();
  choose();
}
