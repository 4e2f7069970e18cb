/** Short messages about what was done, gone after a while. */

import { byId, element } from "./rows.js";

const SHOWN_MS = 6000;
const AT_ONCE_MAX = 4;

/** @param {"good"|"bad"} kind */
export function say(kind, text) {
  const area = byId("messages");
  const message = element("p", { class: `message ${kind}` }, text);
  area.append(message);
  while (area.children.length > AT_ONCE_MAX) area.firstChild.remove();
  setTimeout(() => message.remove(), SHOWN_MS);
}
