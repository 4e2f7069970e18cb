/** How current the page is, said in one place. */

import * as clock from "./clock.js";
import { span, clock as time } from "./format.js";
import { part } from "./frames.js";
import { Shown, byId } from "./rows.js";
import * as sales from "./sales.js";

/** What arrives later than this is behind. */
const BEHIND_MS = 3000;
/** How long the last event counts; after a silence there is nothing left to be behind with. */
const FRESH_MS = 1500;

const WORDS = { live: "Live", resuming: "Reconnecting", behind: "Behind", offline: "Offline" };

let feeds = [];
let wasLive = false;
/** When that was last the case, in the shop's time. */
let liveUntil = 0;
let lag = 0;
let lagAt = -Infinity;

/** These feeds together are the connection. */
export function watch(all) {
  feeds = all;
}

/** An event has arrived that happened at this moment of the shop's time. */
export function note(atMs) {
  lag = clock.now() - atMs;
  lagAt = performance.now();
}

const isBehind = () => lag > BEHIND_MS && performance.now() - lagAt < FRESH_MS;

function state() {
  const states = feeds.map((feed) => feed.state).filter((state) => state !== "closed");
  if (states.includes("offline")) return "offline";
  if (states.some((state) => state !== "live")) return "resuming";
  return isBehind() ? "behind" : "live";
}

const shown = {
  state: Shown.attribute(byId("connection"), "data-state"),
  text: Shown.text(byId("connection-text")),
  detail: Shown.text(byId("connection-detail")),
  notice: Shown.text(byId("notice")),
};

function draw() {
  const now = state();
  if (now === "live" || now === "behind") {
    wasLive = true;
    liveUntil = clock.now();
  }
  // What cannot be heard is not nothing.
  sales.hush(wasLive && now !== "live" && now !== "behind" ? liveUntil : null);
  shown.state.show(now);
  shown.text.show(wasLive || now === "offline" ? WORDS[now] : "Connecting");
  shown.detail.show(now === "behind" ? `by ${span(lag / 1000)}` : "");
  shown.notice.show(now === "offline" ? offline() : "");
  byId("notice").hidden = now !== "offline";
}

function offline() {
  const since = wasLive ? `What you see is from ${time(liveUntil)}. ` : "";
  return `The shop cannot be reached. ${since}This page keeps trying and catches up by itself.`;
}

/** To be called when the state of a feed changes, and now and again. */
export const touch = part(draw, 200);
