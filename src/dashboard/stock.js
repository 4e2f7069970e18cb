/**
 * The products as this page knows them: the catalogue over REST, and what the stock feed says since.
 *
 * The feed greets first and the catalogue is read after that, so nothing falls between the two. What
 * the feed has said since its greeting stands, whatever a page of the catalogue says that may have
 * been read before: if the feed's word is the older one, the newer is on its way.
 */

import * as clock from "./clock.js";
import { nextPage, send } from "./http.js";
import * as sales from "./sales.js";

/** The most products that are kept; of a larger catalogue, the first, and what is searched for. */
export const KEPT_MAX = 20_000;
/** What was sold so long ago counts for a third in a product's pace. */
const PACE_MS = 120_000;
/** A pace is not taken over less. */
const PACE_WATCHED_MIN_MS = 10_000;
/** More unknown products than this are read with the whole catalogue. */
const LOOKUPS_MAX = 40;
const LOOKUP_PAUSE_MS = 300;
const RELOAD_PAUSE_MS = 10_000;
const RETRY_MS = 3000;
const PAGE_SIZE = 1000;

/** @type {Map<number, Product>} */
const products = new Map();
/** The feed's last word on products that are not known by name yet. */
const unknown = new Map();
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** Grows with every greeting; tells the feed's words since then from those before. */
let run = 0;
let isLoading = false;
let loadedAt = 0;
let lookupTimer = null;
let watchedSince = 0;
let changed = () => {};

/** How far the catalogue has been read. */
export const status = { isReady: false, isWhole: true, loaded: 0, problem: "" };

class Product {
  constructor(row) {
    this.id = row.id;
    this.stock = row.stock;
    this.price = row.price;
    /** The greeting since which the feed has spoken of it. */
    this.run = 0;
    this.changedAt = 0;
    this.sold = 0;
    this.soldAt = 0;
    this.rename(row);
  }

  rename({ name, sku }) {
    this.name = name;
    this.sku = sku ?? "";
    this.haystack = `${name} ${this.sku}`.toLocaleLowerCase();
  }

  /** Units a second, of late; see `PACE_MS`. */
  pace(now) {
    if (this.sold === 0) return 0;
    const weighed = this.sold * Math.exp((this.soldAt - now) / PACE_MS);
    const watched = Math.max(now - watchedSince, PACE_WATCHED_MIN_MS);
    return (weighed * 1000) / (PACE_MS * (1 - Math.exp(-watched / PACE_MS)));
  }

  /** Seconds until it is sold out at its pace. */
  lasts(now) {
    if (this.stock === 0) return 0;
    const pace = this.pace(now);
    return pace > 0 ? this.stock / pace : Infinity;
  }

  sell(units, at) {
    this.sold = this.sold * Math.exp(Math.min(this.soldAt - at, 0) / PACE_MS) + units;
    this.soldAt = Math.max(this.soldAt, at);
  }
}

/** Calls `listener` when anything has changed. */
export function onChange(listener) {
  changed = listener;
}

/** The feed has greeted for the first time, or cannot go on where it was. */
export function refresh() {
  run += 1;
  if (watchedSince === 0) {
    watchedSince = clock.now();
    sales.know("units", watchedSince);
  }
  load();
}

/** An event of the stock feed. */
export function apply(event) {
  if (event.type === "removed") {
    products.delete(event.product);
    unknown.delete(event.product);
    return changed();
  }
  const product = products.get(event.product);
  if (!product) return meet(event);
  const at = Date.parse(event.at);
  const fall = product.stock - event.stock;
  if (fall > 0) {
    sales.add("units", at, fall);
    product.sell(fall, at);
  }
  product.stock = event.stock;
  product.price = event.price;
  product.changedAt = at;
  product.run = run;
  changed();
}

/** A product that is new, or beyond those that are kept. */
function meet(event) {
  const before = unknown.get(event.product);
  if (before && before.stock > event.stock) sales.add("units", Date.parse(event.at), before.stock - event.stock);
  unknown.set(event.product, event);
  if (!status.isReady) return;
  if (status.isWhole) lookUpSoon();
  else if (unknown.size > KEPT_MAX) unknown.delete(unknown.keys().next().value);
}

/** Reads the catalogue, again and again until it has been read. */
async function load() {
  if (isLoading) return;
  isLoading = true;
  const reading = run;
  try {
    await readCatalogue(reading);
    status.problem = "";
  } catch (error) {
    status.problem = error.message;
    setTimeout(load, RETRY_MS);
  }
  isLoading = false;
  changed();
  // A greeting that came meanwhile may stand for changes that the first pages do not show.
  if (!status.problem && reading !== run) load();
  if (status.isWhole && unknown.size > 0) lookUpSoon();
}

async function readCatalogue(reading) {
  const seen = new Set();
  let path = `/api/products/?page_size=${PAGE_SIZE}`;
  while (path && seen.size < KEPT_MAX) {
    const { data, headers } = await send("GET", path);
    for (const row of data) {
      seen.add(row.id);
      keep(row, reading);
    }
    status.loaded = seen.size;
    changed();
    path = nextPage(headers);
  }
  status.isWhole = !path;
  if (path) await readScarcest(reading);
  else dropAllBut(seen, reading);
  rank();
  status.isReady = true;
  loadedAt = performance.now();
}

/** What the whole catalogue does not show is gone, unless it came after it was read. */
function dropAllBut(seen, reading) {
  for (const { id, run: spokenOf } of products.values()) {
    if (!seen.has(id) && spokenOf < reading) products.delete(id);
  }
}

/** Of a catalogue that is too large to be kept, what is low matters wherever it stands. */
async function readScarcest(reading) {
  const { data } = await send("GET", `/api/products/?ordering=stock&page_size=${PAGE_SIZE}`);
  for (const row of data) keep(row, reading);
}

/** Takes a row of the catalogue that was asked for after greeting number `reading`. */
function keep(row, reading) {
  let product = products.get(row.id);
  if (!product) {
    product = new Product(row);
    products.set(row.id, product);
  } else {
    product.rename(row);
    if (product.run < reading) [product.stock, product.price] = [row.stock, row.price];
  }
  const event = unknown.get(row.id);
  if (event) {
    unknown.delete(row.id);
    [product.stock, product.price, product.run] = [event.stock, event.price, run];
    product.changedAt = Date.parse(event.at);
  }
}

/** Names are compared once, not whenever the table is sorted. */
function rank() {
  const sorted = [...products.values()].sort((a, b) => collator.compare(a.name, b.name) || a.id - b.id);
  sorted.forEach((product, index) => (product.rank = index));
}

function lookUpSoon() {
  lookupTimer ??= setTimeout(lookUp, LOOKUP_PAUSE_MS);
}

/** Finds out what the unknown products are called: one by one, or with all the others. */
async function lookUp() {
  const ids = [...unknown.keys()];
  if (ids.length > LOOKUPS_MAX) {
    const wait = RELOAD_PAUSE_MS - (performance.now() - loadedAt);
    if (wait > 0) return (lookupTimer = setTimeout(lookUp, wait));
    await load();
  } else {
    await Promise.all(ids.map(lookUpOne));
    rank();
    changed();
  }
  lookupTimer = null;
  if (status.isWhole && unknown.size > 0) lookUpSoon();
}

async function lookUpOne(id) {
  try {
    keep((await send("GET", `/api/products/${id}/`)).data, 0);
  } catch (error) {
    // Gone again already; whatever else is wrong, the next event about it asks again.
    unknown.delete(id);
    if (error.status !== 404) console.warn(`product ${id}:`, error.message);
  }
}

/** Of a catalogue that is too large to be kept, fetches what is searched for. */
export async function fetchMatches(text) {
  if (status.isWhole || !text) return;
  const { data } = await send("GET", `/api/products/?search=${encodeURIComponent(text)}&page_size=200`);
  for (const row of data) keep(row, run);
  rank();
  changed();
}

/** A product by its id. */
export const get = (id) => products.get(id);

const orders = {
  // What is sold out has run out already.
  lasts: (a, b, now) => (a.stock === 0) - (b.stock === 0) || a.lasts(now) - b.lasts(now) || a.stock - b.stock,
  pace: (a, b, now) => b.pace(now) - a.pace(now) || a.stock - b.stock,
  stock: (a, b) => a.stock - b.stock,
  changed: (a, b) => b.changedAt - a.changedAt,
  name: () => 0,
};

/** Seconds of stock at which a product counts as low. */
const LOW_SECONDS = 900;

/** `"out"`, `"low"` or `""`. */
export function level(product, now, lowLimit) {
  if (product.stock === 0) return "out";
  return product.stock <= lowLimit || product.lasts(now) < LOW_SECONDS ? "low" : "";
}

/**
 * The products to be shown.
 * @param {{text: string, filter: string, sort: string, lowLimit: number, from: number, size: number}} wanted
 * @returns {{rows: Product[], matching: number, low: number, out: number, all: number}}
 *   the rows `from` up to `from + size`, and how many there are of each kind
 */
export function select({ text, filter, sort, lowLimit, from, size }) {
  const now = clock.now();
  const words = text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const compare = (a, b) => orders[sort](a, b, now) || a.rank - b.rank || a.id - b.id;
  const best = new Smallest(from + size, compare);
  let [matching, low, out] = [0, 0, 0];
  for (const product of products.values()) {
    const is = level(product, now, lowLimit);
    if (is === "low") low += 1;
    if (is === "out") out += 1;
    if (filter !== "all" && is !== filter) continue;
    if (!words.every((word) => product.haystack.includes(word))) continue;
    matching += 1;
    best.offer(product);
  }
  return { rows: best.items.slice(from), matching, low, out, all: products.size };
}

/** The first few of many in an order, without sorting them all. */
class Smallest {
  items = [];

  constructor(size, compare) {
    this.size = size;
    this.compare = compare;
  }

  offer(item) {
    const { items, size, compare } = this;
    if (items.length === size && compare(item, items[size - 1]) >= 0) return;
    let [low, high] = [0, items.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(item, items[middle]) < 0) high = middle;
      else low = middle + 1;
    }
    items.splice(low, 0, item);
    if (items.length > size) items.pop();
  }
}
