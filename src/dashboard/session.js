/**
 * Who is signed in. The access token is nowhere but here; the refresh token is in the tab's own
 * storage, so that a reload does not sign out and closing the tab does. Only staff are let in: there
 * is nothing for others to see that the public feed does not show.
 */

import * as clock from "./clock.js";
import { Refusal, send } from "./http.js";

const KEY = "emporium-refresh";
/** The part of an access token's life after which the next one is fetched. */
const RENEW_AT = 0.8;
const RETRY_MS = 5000;

let access = null;
let refresh = null;
let user = null;
let timer = null;
let renewing = null;
let tell = () => {};

const kept = {
  read: () => { try { return sessionStorage.getItem(KEY); } catch { return null; } },
  write: (token) => { try { sessionStorage.setItem(KEY, token); } catch { /* then a reload signs out */ } },
  clear: () => { try { sessionStorage.removeItem(KEY); } catch { /* there was none */ } },
};

/** Calls `listener(user, why)` on every sign-in and sign-out; `why` is a sentence for people. */
export function onChange(listener) {
  tell = listener;
}

export const isSignedIn = () => user !== null;
/** The access token of the moment, for the sockets. */
export const token = () => access;

/** Goes on with the session of before a reload, if there was one. */
export async function restore() {
  refresh = kept.read();
  if (!refresh) return;
  try {
    await renew();
    if (access) await enter();
  } catch (error) {
    if (error.status === 401 || error.status === 403) return end("");
    // The shop is away: what is kept stays kept.
    clearTimeout(timer);
    timer = setTimeout(restore, RETRY_MS);
  }
}

/** @throws {Refusal} */
export async function signIn(username, password) {
  const { data } = await send("POST", "/api/auth/login/", { body: { username, password } });
  take(data);
  try {
    await enter();
  } catch (error) {
    await leave();
    forget();
    throw error;
  }
  kept.write(refresh);
}

export async function signOut() {
  await leave();
  end("You are signed out.");
}

async function enter() {
  const { data } = await call("GET", "/api/auth/me/");
  if (!data.is_staff) throw new Refusal(`${data.username} is not staff; what customers may see is here already.`, 403);
  user = data;
  tell(user, "");
}

/**
 * The shop has closed a feed because of the token: gets another one, unless the session has ended or
 * the account is not staff any more.
 * @throws {Refusal} where the shop cannot be reached
 */
export async function reenter() {
  await renew();
  if (!access) return;
  const { data } = await call("GET", "/api/auth/me/");
  if (!data.is_staff) {
    await leave();
    end("This account is not staff any more.");
  }
}

/** Ends the session in the shop as well; where it cannot be reached, the tokens run out by themselves. */
async function leave() {
  try {
    await send("POST", "/api/auth/logout/", { access, body: { refresh } });
  } catch { /* see above */ }
}

function take(data) {
  access = data.access;
  refresh = data.refresh ?? refresh;
  clearTimeout(timer);
  timer = setTimeout(() => renew().catch(() => {}), lifetimeMs(access) * RENEW_AT);
}

/** How much longer a token lasts, by its own account and the shop's clock. */
function lifetimeMs(jwt) {
  const { exp } = JSON.parse(atob(jwt.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
  return Math.max(exp * 1000 - clock.now(), 10_000);
}

/**
 * Fetches a new access token, once for everybody who asks meanwhile. A refused one ends the session.
 * @throws {Refusal} where the shop cannot be reached
 */
export function renew() {
  renewing ??= fetchNew().finally(() => (renewing = null));
  return renewing;
}

async function fetchNew() {
  const asked = refresh;
  if (!asked) return;
  try {
    const { data } = await send("POST", "/api/auth/token/refresh/", { body: { refresh: asked } });
    // Signed out, or in as somebody else, meanwhile.
    if (refresh !== asked) return;
    take(data);
    if (kept.read()) kept.write(refresh);
  } catch (error) {
    if (refresh !== asked) return;
    if (error.status === 401 || error.status === 400) return end("Your session has ended. Please sign in again.");
    clearTimeout(timer);
    timer = setTimeout(() => renew().catch(() => {}), RETRY_MS);
    throw error;
  }
}

/** A request as whoever is signed in; a token that has just run out is replaced once. */
export async function call(method, path, options = {}) {
  const used = access;
  try {
    return await send(method, path, { ...options, access: used });
  } catch (error) {
    if (error.status !== 401 || !used) throw error;
    if (used === access) await renew();
    if (!access) throw error;
    return send(method, path, { ...options, access });
  }
}

function forget() {
  clearTimeout(timer);
  [access, refresh] = [null, null];
  kept.clear();
}

function end(why) {
  const wasSignedIn = user !== null;
  forget();
  user = null;
  if (wasSignedIn || why) tell(null, why);
}
