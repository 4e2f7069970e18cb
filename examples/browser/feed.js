/**
 * Follows a feed of the shop, and comes back by itself.
 *
 *     const session = await Session.signIn("", "anna", password);
 *     const feed = new Feed("wss://shop.example.com/ws/orders/", {
 *       session,
 *       onMessage: (message) => …, // each order event once and in order; of stock the latest
 *       onState: (state) => …, // "connecting", "live", "resuming", and last "signed out" or "closed"
 *     });
 *
 * `onMessage` gets the messages of the contract as they are, `reset` among them: what was missed is
 * not kept any more, so read the orders anew over REST. For stock, a `snapshot` comes by itself.
 */

/** Close code: not, or not any more, signed in. */
const SIGNED_OUT = 4001;
/** The longest pause before the first attempt to come back; it doubles with each that fails. */
const PAUSE_FIRST_MS = 500;
const PAUSE_MAX_MS = 30_000;
/** A silent connection is asked whether it is still there, and given up if it does not answer. */
const SILENCE_MAX_MS = 60_000;
const ANSWER_MAX_MS = 10_000;

/** The shop does not take this user any more, or never did. */
export class SignedOutError extends Error {}

/** The tokens of a user. Keep them in memory: what a page stores, any script on it can read. */
export class Session {
  #shop;
  #tokens;

  constructor(shop, tokens) {
    this.#shop = shop;
    this.#tokens = tokens;
  }

  /** Signs in at a shop; its address may be empty where the page is served under the same one. */
  static async signIn(shop, username, password) {
    return new Session(shop, await tokens(`${shop}/api/auth/login/`, { username, password }));
  }

  get access() {
    return this.#tokens.access;
  }

  /** Gets a new access token; throws a SignedOutError once the session is over. */
  async renew() {
    const { refresh } = this.#tokens;
    // With a new refresh token where the shop is set up to change them.
    this.#tokens = { refresh, ...(await tokens(`${this.#shop}/api/auth/token/refresh/`, { refresh })) };
  }

  /** Asks the shop for JSON. */
  async get(path) {
    const ask = () => fetch(this.#shop + path, { headers: { Authorization: `Bearer ${this.access}` } });
    let answer = await ask();
    if (answer.status === 401) {
      await this.renew();
      answer = await ask();
    }
    if (!answer.ok) throw new Error(`The shop answered ${answer.status}.`);
    return answer.json();
  }
}

async function tokens(url, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401) throw new SignedOutError(said.detail);
  if (!answer.ok) throw new Error(said.detail ?? `The shop answered ${answer.status}.`);
  return said;
}

/** A feed; see above. */
export class Feed {
  #url;
  #session;
  #since;
  #onMessage;
  #onState;
  #hasSnapshot;
  #failures = 0;
  #isClosed = false;
  /** Ends what is being waited for. */
  #interrupt = () => {};

  constructor(url, { session = null, since = null, onMessage, onState = () => {} }) {
    this.#url = new URL(url, location.href);
    this.#session = session;
    this.#since = since;
    this.#onMessage = onMessage;
    this.#onState = onState;
    const { pathname, searchParams } = this.#url;
    this.#hasSnapshot = pathname.startsWith("/ws/stock") && !searchParams.has("all");
    this.#follow();
  }

  /** The number up to which nothing is left to come; `null` before there is one. */
  get since() {
    return this.#since;
  }

  /** Ends it. */
  close() {
    this.#isClosed = true;
    this.#interrupt();
  }

  /** Listens, and comes back after every loss. The pauses are random, so that all the pages of a
   *  node that went away do not come at once ("full jitter"). */
  async #follow() {
    this.#onState("connecting");
    let code = await this.#listen();
    while (!this.#isClosed) {
      this.#onState("resuming");
      await this.#pause();
      if (this.#isClosed) break;
      const session = code === SIGNED_OUT ? await this.#renewed() : "good";
      if (session === "over") return this.#onState("signed out");
      if (session === "good") code = await this.#listen();
    }
    this.#onState("closed");
  }

  async #renewed() {
    if (!this.#session) return "over";
    try {
      await this.#session.renew();
      return "good";
    } catch (error) {
      return error instanceof SignedOutError ? "over" : "out of reach";
    }
  }

  /** Listens on one connection; returns the code it was closed with once it is over. */
  #listen() {
    const url = new URL(this.#url);
    if (this.#since !== null) url.searchParams.set("since", this.#since);
    // A page cannot set headers on a socket, so the token comes as a subprotocol.
    const socket = new WebSocket(url, this.#session ? ["bearer", this.#session.access] : []);
    return new Promise((resolve) => {
      let timer = 0;
      const end = (code) => {
        clearTimeout(timer);
        socket.onmessage = socket.onclose = null;
        socket.close();
        resolve(code);
      };
      const expectMore = () => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          // The shop knows no such message, and says so: it is there.
          if (socket.readyState === WebSocket.OPEN) socket.send('{"type":"ping"}');
          timer = setTimeout(() => end(1006), ANSWER_MAX_MS);
        }, SILENCE_MAX_MS);
      };
      expectMore();
      socket.onmessage = ({ data }) => {
        expectMore();
        this.#hear(JSON.parse(data));
      };
      socket.onclose = ({ code }) => end(code);
      this.#interrupt = () => end(1000);
    });
  }

  #hear(message) {
    const { type, seq } = message;
    if (type === "error") return;
    if (type === "ready") {
      this.#failures = 0;
      this.#onState("live");
    }
    const isEvent = type === "order" || type === "stock" || type === "removed";
    if (isEvent && this.#since !== null && seq <= this.#since) return;
    this.#onMessage(message);
    // A long one comes in several messages.
    const isWhole = type === "snapshot" && !message.more;
    const isStart = type === "reset" || (type === "ready" && this.#since === null);
    if (isEvent || isWhole || (isStart && !this.#hasSnapshot)) this.#since = seq;
    // A snapshot follows; without it, there is nothing to resume.
    else if (isStart) this.#since = null;
  }

  #pause() {
    const longest = Math.min(PAUSE_FIRST_MS * 2 ** this.#failures, PAUSE_MAX_MS);
    this.#failures += 1;
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.random() * longest);
      this.#interrupt = () => resolve(clearTimeout(timer));
    });
  }
}
