/** Requests to the shop, and what went wrong in plain words. */

import * as clock from "./clock.js";

const TIMEOUT_MS = 15_000;

/** A request that came to nothing. `message` is for people. */
export class Refusal extends Error {
  /**
   * @param {string} message
   * @param {number} status 0 where no answer came, so that nobody knows whether it happened
   * @param {string} [code] the machine-readable reason
   */
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * Sends a request and gives back the answer's JSON (`null` where it has none) and headers.
 * @throws {Refusal} for anything but a success
 */
export async function send(method, path, { body, access, key } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (access) headers.Authorization = `Bearer ${access}`;
  if (key) headers["Idempotency-Key"] = key;
  const sentAt = Date.now();
  let response, text;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    clock.learn(response.headers.get("Date"), sentAt, Date.now());
    text = await response.text();
  } catch {
    throw new Refusal("The shop did not answer.", 0);
  }
  let data = null;
  try {
    if (text) data = JSON.parse(text);
  } catch {
    throw new Refusal(`The answer (${response.status}) was not readable.`, response.status);
  }
  if (!response.ok) throw new Refusal(words(response, data), response.status, data?.code);
  return { data, headers: response.headers };
}

function words(response, data) {
  if (response.status === 429) return `Too many requests. Try again in ${wait(response)}.`;
  if (data?.detail) return data.detail;
  // What is wrong, field by field.
  const lines = Object.entries(data ?? {}).map(([field, messages]) => {
    const said = [messages].flat(2).filter((message) => typeof message === "string").join(" ");
    return field === "non_field_errors" ? said : `${field}: ${said}`;
  });
  return lines.join(" ") || `The shop answered ${response.status}.`;
}

function wait(response) {
  const seconds = Number(response.headers.get("Retry-After"));
  return seconds > 0 ? `${seconds} s` : "a moment";
}

/** The path of the next page of a list, or `null`. */
export function nextPage(headers) {
  const next = /<([^>]*)>\s*;\s*rel="next"/.exec(headers.get("Link") ?? "");
  return next ? next[1] : null;
}

/** A key under which a request may be sent again without being carried out again. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
