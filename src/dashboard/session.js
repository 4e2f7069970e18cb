/**
 * Who is signed in. The access token is nowhere but here; the refresh token is one for all tabs, so that
 * neither a reload nor a second tab has to sign in, and signing out in one tab does so in all. The shop may
 * exchange it whenever it is used, and takes an old one for a stolen one: so tabs use it in turn. Only staff
 * are let in: there is nothing for others to see that the public feed does not show.
 */

import * as clock from "./clock.js";
import { Refusal, send } from "./http.js";
import * as kept from "./kept.js";

/** The part of an access token's life after which the next one is fetched. */
const RENEW_AT = 0.8;
const RETRY_MS = 5000;

let access = null;
let user = null;
let timer = null;
let renewing = null;
let tell = () => {};

/** To other tabs: somebody has signed in, or out. */
const others = new BroadcastChannel("session");
others.onmessage = async () => {
  const isKept = (await kept.read()) !== null;
  if (user && !isKept) await end("You are signed out.");
  else if (!user && isKept) await restore();
};

/** Calls `listener(user, why)` on every sign-in and sign-out; `why` is a sentence for people. */
export function onChange(listener) {
  tell = listener;
}

export const isSignedIn = () => user !== null;
/** The access token of the moment, for the sockets. */
export const token = () => access;

/** Goes on with the session of before a reload, or of another tab, if there is one. */
export async function restore() {
  if (!(await kept.read())) return;
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
    await leave(data.refresh);
    forget();
    throw error;
  }
  await kept.write(data.refresh);
  others.postMessage("");
}

export async function signOut() {
  await kept.alone(async () => leave(await kept.read()));
  await end("You are signed out.");
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
    await kept.alone(async () => leave(await kept.read()));
    await end("This account is not staff any more.");
  }
}

/** Ends the session in the shop as well; where it cannot be reached, the tokens run out by themselves. */
async function leave(refresh) {
  try {
    await send("POST", "/api/auth/logout/", { access, body: { refresh } });
  } catch { /* see above */ }
}

function take(data) {
  access = data.access;
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
  renewing ??= kept.alone(fetchNew).finally(() => (renewing = null));
  return renewing;
}

async function fetchNew() {
  const refresh = await kept.read();
  if (!refresh) return end(user ? "You are signed out." : "");
  try {
    const { data } = await send("POST", "/api/auth/token/refresh/", { body: { refresh } });
    if (data.refresh) await kept.write(data.refresh);
    take(data);
  } catch (error) {
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
  access = null;
}

async function end(why) {
  const wasSignedIn = user !== null;
  forget();
  user = null;
  if (wasSignedIn || why) tell(null, why);
  if (!(await kept.read())) return;
  await kept.clear();
  others.postMessage("");
}
