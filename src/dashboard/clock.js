/**
 * The shop's time. A dashboard's own clock may be off by minutes, and events carry the shop's; so each
 * answer's `Date` narrows down by how much the two differ.
 */

/** A `Date` is cut to the second, and a server may keep it for half a second more. */
const DATE_AGE_MAX_MS = 1500;

// The difference lies between these.
let low = -Infinity;
let high = Infinity;

/** Learns from an answer that was asked for and received at these times of our own clock. */
export function learn(date, sentAt, receivedAt) {
  const shown = Date.parse(date);
  if (Number.isNaN(shown)) return;
  const [newLow, newHigh] = [shown - receivedAt, shown + DATE_AGE_MAX_MS - sentAt];
  low = Math.max(low, newLow);
  high = Math.min(high, newHigh);
  // The clocks contradict what they said before: one was set.
  if (low > high) [low, high] = [newLow, newHigh];
}

/** The shop's time, in milliseconds since 1970. */
export function now() {
  return Date.now() + (Number.isFinite(low) ? (low + high) / 2 : 0);
}
