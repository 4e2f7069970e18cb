/** Moving an order on. */

import { newKey } from "./http.js";
import { say } from "./messages.js";
import { WORDS } from "./orders.js";
import { call } from "./session.js";

/** How often a move is sent again, with its key, when no answer comes. */
const ATTEMPTS = 3;
const PAUSE_MS = 800;

/**
 * Sends a move, and says what became of it; what it changes comes by the feed.
 * @returns {Promise<boolean>} whether it was made
 */
export async function move(id, step, button) {
  if (button.disabled) return false;
  button.disabled = true;
  const key = newKey();
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        await call("POST", `/api/orders/${id}/${step}/`, { body: {}, key });
        break;
      } catch (error) {
        const isOpen = error.status === 0 || error.status === 503;
        if (!isOpen || attempt === ATTEMPTS) throw error;
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * attempt));
      }
    }
    say("good", `Order ${id} ${WORDS[step].done}.`);
    return true;
  } catch (error) {
    say("bad", `Order ${id}: ${error.message}`);
    return false;
  } finally {
    button.disabled = false;
  }
}
