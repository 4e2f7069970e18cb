/** Numbers, amounts and times as people write them where the browser is. */

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const amount = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const days = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

/** Where there is nothing to show. */
export const NONE = "–";

/** A whole number. */
export const count = (value) => whole.format(value);
/** A number in little room, such as 12K. */
export const brief = (value) => short.format(value);
/** A rate: with one decimal while it is small. */
export const rate = (value) => (value < 99.95 ? tenths.format(value) : whole.format(value));
/** An amount of the API, which is text with two decimals. */
export const money = (text) => amount.format(text);
/** A sum of cents; of a large one, nobody misses them. */
export const sum = (cents) => (cents < 1e7 ? amount : whole).format(cents / 100);
/** The time of day, of milliseconds since 1970. */
export const clock = (ms) => time.format(ms);
/** Day and time, of milliseconds since 1970. */
export const moment = (ms) => day.format(ms);

/** When something was: the time today, the date before. */
export function when(ms, now) {
  return now - ms < 12 * 3_600_000 ? time.format(ms) : days.format(ms);
}

/** A length of time in its largest unit, from seconds. */
export function span(seconds) {
  if (seconds < 1) return "< 1 s";
  if (seconds < 60) return `${whole.format(seconds)} s`;
  if (seconds < 3600) return `${whole.format(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${whole.format(seconds / 3600)} h`;
  return seconds < 1000 * 86_400 ? `${whole.format(seconds / 86_400)} d` : "years";
}

/** A short time, from microseconds. */
export function millis(micros) {
  return micros < 99_950 ? tenths.format(micros / 1000) : whole.format(micros / 1000);
}

/** The first with its noun: "1 product", "2 products". */
export const of = (number, noun) => `${whole.format(number)} ${noun}${number === 1 ? "" : "s"}`;
