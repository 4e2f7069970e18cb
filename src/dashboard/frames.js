/**
 * Drawing. What arrives changes the models at once and the page never: a part of the page is only
 * marked as out of date, and drawn in one of the browser's own frames, no more often than an eye can
 * follow. However many events arrive, a frame draws each part at most once.
 */

/** What drawing may take of a frame, in milliseconds; what is left over is drawn in the next. */
const BUDGET_MS = 6;

const parts = [];
let isAsked = false;

/**
 * Declares a part of the page.
 * @param {() => void} draw brings the part up to date
 * @param {number} everyMs the least time between two drawings
 * @returns {() => void} marks the part as out of date
 */
export function part(draw, everyMs) {
  const it = { draw, everyMs, drawnAt: -Infinity, isStale: false };
  parts.push(it);
  return () => {
    it.isStale = true;
    ask();
  };
}

function ask() {
  if (isAsked) return;
  isAsked = true;
  requestAnimationFrame(frame);
}

function frame(now) {
  isAsked = false;
  // Who has waited longest goes first, so that a tight budget starves nobody.
  const due = parts.filter((it) => it.isStale && now - it.drawnAt >= it.everyMs);
  due.sort((a, b) => a.drawnAt - b.drawnAt);
  const until = performance.now() + BUDGET_MS;
  for (const it of due) {
    it.isStale = false;
    it.drawnAt = now;
    try {
      it.draw();
    } catch (error) {
      reportError(error);
    }
    if (performance.now() > until) break;
  }
  if (parts.some((it) => it.isStale)) ask();
}

/** Calls `tick` every second while the page can be seen. */
export function everySecond(tick) {
  setInterval(() => document.hidden || tick(), 1000);
  document.addEventListener("visibilitychange", () => document.hidden || tick());
}
