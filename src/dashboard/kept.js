/**
 * The refresh token: one for all tabs of the browser. It is in a database and not in `localStorage`, since
 * that may show a tab what another one has replaced a moment ago. Where there is no storage, each tab keeps
 * its own, until it is reloaded.
 */

const STORE = "session";
const KEY = "refresh";

let own = null;

const opened = new Promise((resolve, reject) => {
  const request = indexedDB.open("emporium", 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
}).catch(() => null);

async function ask(mode, what) {
  const database = await opened;
  if (!database) return own;
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, mode);
    const request = what(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result ?? null);
    transaction.onabort = () => reject(transaction.error);
  });
}

/** The token, or `null`. */
export const read = () => ask("readonly", (store) => store.get(KEY));

export async function write(token) {
  own = token;
  await ask("readwrite", (store) => store.put(token, KEY));
}

export async function clear() {
  own = null;
  await ask("readwrite", (store) => store.delete(KEY));
}

/**
 * Does something while no other tab does. Browsers offer that to pages of `https` and of this very machine
 * only; elsewhere tabs do not wait for each other.
 */
export const alone = (work) => (navigator.locks ? navigator.locks.request(STORE, work) : work());
