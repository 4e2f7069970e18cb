/** What was sold, second by second of the shop's time. */

import * as clock from "./clock.js";

/** Seconds that are remembered: the longest chart, and some to spare. */
const SIZE = 960;
/** Full seconds that a rate is taken over. */
const RATE_SECONDS = 5;
/** Points of a chart, however long. */
const POINTS = 300;

const second = new Float64Array(SIZE).fill(-1);
const counts = {
  units: new Float64Array(SIZE),
  orders: new Float64Array(SIZE),
  cents: new Float64Array(SIZE),
};
/** From which second on everything is known, by what is counted; `Infinity` before anything is. */
const knownFrom = { units: Infinity, orders: Infinity, cents: Infinity };

/** Counts `number` of `what` at a moment, in milliseconds of the shop's time. */
export function add(what, atMs, number) {
  const at = Math.floor(atMs / 1000);
  const slot = at % SIZE;
  if (second[slot] > at) return;
  if (second[slot] < at) {
    for (const column of Object.values(counts)) column[slot] = 0;
    second[slot] = at;
  }
  counts[what][slot] += number;
}

/** Everything of `what` since that moment will have been counted. */
export function know(what, sinceMs) {
  knownFrom[what] = Math.min(knownFrom[what], Math.ceil(sinceMs / 1000));
}

/** Forgets what was counted of `what`. */
export function forget(what) {
  counts[what].fill(0);
  knownFrom[what] = Infinity;
}

/** Since when nothing is heard, in milliseconds of the shop's time; `null` while all is well. */
let silentSince = null;

/** Nothing is heard since that moment, so nothing is known of later ones; with `null`, it is again. */
export function hush(sinceMs) {
  silentSince = sinceMs;
}

/** The second before last is the newest that is full: what happened in it has had time to arrive. */
const newest = () => Math.floor((silentSince ?? clock.now()) / 1000) - 2;

function at(what, index) {
  const slot = index % SIZE;
  return second[slot] === index ? counts[what][slot] : 0;
}

/** How many of `what` a second, of late; `null` while nothing is known. */
export function rate(what) {
  const last = newest();
  const first = Math.max(last - RATE_SECONDS + 1, knownFrom[what]);
  if (first > last) return knownFrom[what] === Infinity ? null : 0;
  let sum = 0;
  for (let index = first; index <= last; index++) sum += at(what, index);
  return sum / (last - first + 1);
}

/** How many of `what` in the last `seconds`, the current one included, as far as is known. */
export function total(what, seconds) {
  const last = newest() + 2;
  let sum = 0;
  for (let index = last - seconds + 1; index <= last; index++) sum += at(what, index);
  return sum;
}

/** The chart of the last `seconds`: times, and for each of `whats` its rates, `null` where unknown. */
export function series(seconds, whats) {
  const step = Math.max(1, Math.round(seconds / POINTS));
  // Whole steps, so that a point keeps its value while it moves along.
  const end = Math.floor((newest() + 1) / step) * step;
  const times = [];
  const rates = whats.map(() => []);
  for (let from = end - seconds; from < end; from += step) {
    times.push(from);
    whats.forEach((what, column) => {
      if (from < knownFrom[what]) return rates[column].push(null);
      let sum = 0;
      for (let index = from; index < from + step; index++) sum += at(what, index);
      rates[column].push(sum / step);
    });
  }
  return [times, ...rates];
}
