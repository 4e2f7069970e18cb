/**
 * The dashboard: the shop as it sells.
 *
 * It knows nothing that the public interface does not tell: the catalogue and orders over REST, changes
 * over the two live feeds. `feed.js` keeps a feed going; `stock.js`, `orders.js` and `sales.js` hold what
 * is known; the files named after parts of the page draw it, in the frames of `frames.js`.
 *
 * Tests, and whoever else drives the page, may rely on:
 *
 * | where | what |
 * | --- | --- |
 * | `#connection[data-state]` | `live`, `resuming` (also while it first connects), `behind`, `offline` |
 * | `body[data-signed-in]` | `yes`, `no` |
 * | `#sign-in` with `#username`, `#password`, `#sign-in-error`; `#sign-out`, `#who` | the session |
 * | `#orders-per-second`, `#units-per-second`, `#ordered-for`, `#low-count` | the large figures |
 * | `#stock [data-product]` with `data-stock`, `data-level` (`out`, `low`, empty) and `[data-adjust]` | a product of the page shown; `#stock-search` brings any other there |
 * | `#stock-dialog` with `#stock-form`, `#delta`, `#reason`, `#stock-error` | changing a stock |
 * | `#orders [data-order]` with `data-status` and `[data-move=pay|ship|deliver]` | an order of the newest 20, on a phone 10 |
 * | `#order-dialog` with `[data-move=pay|ship|deliver|cancel|refund]`; the last two take two presses | an order, opened by its number or by `#order-find` |
 * | `#nodes [data-node]` | a node |
 * | `#messages`, `#notice` | what was done; that the shop is out of reach |
 * | `#theme`, `html[data-theme]` | `light`, `dark`, absent: as the system |
 *
 * Both tables hold still, but for the values in their rows, while a mouse or the keyboard's focus is on
 * their rows (`#orders-held`, `#stock-held`): move the pointer off to see new orders.
 */

import * as chart from "./chart.js";
import * as connection from "./connection.js";
import { Feed } from "./feed.js";
import * as figures from "./figures.js";
import { everySecond } from "./frames.js";
import { say } from "./messages.js";
import * as nodeTable from "./node-table.js";
import * as orderList from "./order-list.js";
import * as orders from "./orders.js";
import { byId } from "./rows.js";
import * as session from "./session.js";
import * as stockTable from "./stock-table.js";
import * as stock from "./stock.js";

const stockFeed = new Feed("/ws/stock/?all=true&", {
  event(message) {
    stock.apply(message);
    // A removal carries no time.
    if (message.at) connection.note(Date.parse(message.at));
  },
  fresh: stock.refresh,
  state: connection.touch,
});

const orderFeed = new Feed("/ws/orders/?", {
  event(message) {
    orders.apply(message);
    connection.note(Date.parse(message.at));
  },
  fresh: orders.refresh,
  state: connection.touch,
  tokens: session.token,
  refused: session.reenter,
});

stock.onChange(() => {
  stockTable.touch();
  figures.touch();
});
orders.onChange(() => {
  orderList.touch();
  figures.touch();
});
connection.watch([stockFeed, orderFeed]);

session.onChange((user, why) => {
  const isIn = user !== null;
  document.body.dataset.signedIn = isIn ? "yes" : "no";
  byId("who").textContent = isIn ? user.username : "";
  chart.showOrders(isIn);
  if (isIn) {
    orderFeed.open();
    nodeTable.ask();
  } else {
    orderFeed.close();
    orders.clear();
    nodeTable.clear();
    document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  }
  figures.touch();
  if (why) say(isIn ? "good" : "bad", why);
});

byId("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("[type=submit]");
  const error = byId("sign-in-error");
  error.textContent = "";
  button.disabled = true;
  try {
    await session.signIn(form.username.value.trim(), form.password.value);
    form.reset();
    byId("main").focus({ preventScroll: true });
  } catch (failure) {
    error.textContent = failure.message;
    form.password.select();
  }
  button.disabled = false;
});
byId("sign-out").addEventListener("click", async () => {
  await session.signOut();
  byId("username").focus();
});
byId("go-sign-in").addEventListener("click", (event) => {
  event.preventDefault();
  byId("username").focus();
});

everySecond(() => {
  connection.touch();
  figures.touch();
  chart.touch();
  stockTable.touch();
  orderList.touch();
  if (orderFeed.state === "live") nodeTable.ask();
});
stockFeed.open();
connection.touch();
session.restore();
