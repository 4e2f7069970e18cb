/**
 * A live feed that loses nothing: it remembers the number of the last event and, whatever becomes of
 * the connection, goes on after it.
 *
 * Close codes of the shop: 1001 it stops, 1013 its database is away, 4008 this page was too slow,
 * 4001 the token has run out. All but the last are answered by connecting again, sooner or later.
 */

/** The first wait before another attempt; it doubles, and a random part is taken off. */
const WAIT_MS = 250;
const WAIT_MAX_MS = 5000;
/** How long a socket may take to open and greet. */
const GREETING_MS = 8000;
/** After so long a silence the shop is asked whether it is still there. */
const SILENCE_MS = 30_000;
const LOOK_MS = 5000;

/**
 * `state` is one of
 * `closed` not wanted, `connecting` the first attempt, `resuming` lost and trying again at once,
 * `offline` an attempt has failed, `live` everything up to now has arrived or is arriving.
 */
export class Feed {
  state = "closed";
  /** When the next attempt is made, in milliseconds of our own clock; 0 while one is under way. */
  nextAttemptAt = 0;
  #path;
  #on;
  #socket = null;
  #seq = null;
  #failures = 0;
  #timer = null;
  #heardAt = 0;
  #isAsked = false;

  /**
   * @param {string} path of the feed, its query included, ending in `?` or `&`
   * @param {object} on
   *   `event(message)` for each event; `fresh()` where the state has to be read over REST, before any
   *   later event; `state()` when it changes; `tokens()` gives the access token, where one is needed;
   *   `refused()` when that is not good any more: resolves when there is another
   */
  constructor(path, on) {
    this.#path = path;
    this.#on = on;
    addEventListener("online", () => this.#hurry());
    addEventListener("offline", () => this.#fail(this.#socket));
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
    setInterval(() => this.#look(), LOOK_MS);
  }

  open() {
    if (this.state === "closed") this.#connect("connecting");
  }

  /** Closes, and forgets where it was. */
  close() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    this.#seq = null;
    this.#failures = 0;
    socket?.close(1000);
    this.#enter("closed");
  }

  #enter(state) {
    if (state === this.state) return;
    this.state = state;
    this.#on.state();
  }

  #connect(state) {
    this.nextAttemptAt = 0;
    this.#enter(state);
    const url = new URL(this.#path + (this.#seq === null ? "" : `since=${this.#seq}`), location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const access = this.#on.tokens?.();
    let socket;
    try {
      socket = access ? new WebSocket(url, ["bearer", access]) : new WebSocket(url);
    } catch {
      return this.#fail(null);
    }
    this.#socket = socket;
    socket.onmessage = ({ data }) => socket === this.#socket && this.#hear(data);
    socket.onclose = ({ code }) => socket === this.#socket && this.#closed(code, access);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fail(socket), GREETING_MS);
  }

  #hear(text) {
    this.#heardAt = performance.now();
    this.#isAsked = false;
    const message = JSON.parse(text);
    const { type, seq } = message;
    if (type === "ready" || type === "reset") {
      clearTimeout(this.#timer);
      // The first greeting, or one that could not go on where we were.
      const isFresh = this.#seq === null || type === "reset";
      this.#seq = type === "reset" ? seq : (this.#seq ?? seq);
      this.#failures = 0;
      if (isFresh) this.#on.fresh();
      this.#enter("live");
    } else if (seq > this.#seq) {
      this.#seq = seq;
      this.#on.event(message);
    } else if (type === "error") {
      console.warn("the feed answered:", message.detail);
    }
  }

  async #closed(code, access) {
    if (code !== 4001) return this.#fail(this.#socket);
    this.#socket = null;
    clearTimeout(this.#timer);
    this.#enter("resuming");
    // Another token may have come meanwhile; without one, the session is over and we are closed.
    try {
      if (this.#on.tokens?.() === access) await this.#on.refused();
    } catch {
      return this.#fail(null);
    }
    if (this.state === "resuming" && !this.#socket) this.#retry();
  }

  /** Gives a connection up and makes another one, later each time. */
  #fail(socket) {
    if (this.state === "closed" || socket !== this.#socket) return;
    this.#socket = null;
    socket?.close();
    const wasLive = this.state === "live";
    this.#retry();
    this.#enter(wasLive ? "resuming" : "offline");
  }

  #retry() {
    clearTimeout(this.#timer);
    const wait = Math.min(WAIT_MS * 2 ** this.#failures++, WAIT_MAX_MS) * (0.5 + Math.random() / 2);
    this.nextAttemptAt = Date.now() + wait;
    // A failed attempt stays `offline` to whoever looks until one succeeds.
    this.#timer = setTimeout(() => this.#connect(this.state), wait);
  }

  /** Tries at once: the network is back, or somebody looks again. */
  #hurry() {
    if (this.nextAttemptAt === 0 || this.state === "closed") return;
    clearTimeout(this.#timer);
    this.#connect(this.state);
  }

  /** A connection can be gone without a word; to be asked to go on where it is, the shop must answer. */
  #look() {
    if (this.state !== "live" || performance.now() - this.#heardAt < SILENCE_MS) return;
    if (this.#isAsked) return this.#fail(this.#socket);
    this.#isAsked = true;
    this.#socket.send(JSON.stringify({ type: "resume", since: this.#seq }));
  }
}
