/** Changing a stock: so many more or fewer, and why. */

import { count } from "./format.js";
import { say } from "./messages.js";
import { byId } from "./rows.js";
import { call } from "./session.js";

const dialog = byId("stock-dialog");
const form = byId("stock-form");
const [delta, reason, error] = [byId("delta"), byId("reason"), byId("stock-error")];
let product = null;

export function open(chosen) {
  product = chosen;
  form.reset();
  error.textContent = "";
  byId("stock-dialog-product").textContent = product.name;
  byId("stock-dialog-now").textContent = count(product.stock);
  dialog.showModal();
  delta.focus();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("[type=submit]");
  const number = Number(delta.value.trim().replace("−", "-"));
  if (number === 0) return (error.textContent = "Zero changes nothing.");
  button.disabled = true;
  error.textContent = "";
  try {
    const body = { delta: number, reason: reason.value.trim() };
    const { data } = await call("POST", `/api/products/${product.id}/stock/`, { body });
    dialog.close();
    say("good", `${data.name}: ${count(data.stock)} in stock.`);
  } catch (failure) {
    // Without an answer nobody knows; a second try could count twice.
    error.textContent = failure.status === 0 ? "The shop did not answer. Look at the stock before you try again." : failure.message;
  }
  button.disabled = false;
});
dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
