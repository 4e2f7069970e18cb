// A page that shows both feeds, as plainly as can be; the work is in feed.js.
//
// `?shop=http://127.0.0.1:8000` names the shop whose sockets are opened, where that is not the address
// of the page itself. The API is asked under the page's own address.

import { Feed, Session } from "./feed.js";

const shop = new URLSearchParams(location.search).get("shop") ?? location.origin;
const sockets = shop.replace(/^http/, "ws");
const element = (id) => document.getElementById(id);
const showState = (id) => (state) => (element(id).textContent = state);

let stock = null;
element("watch").addEventListener("submit", (event) => {
  event.preventDefault();
  const products = new FormData(event.target).get("products").replaceAll(" ", "");
  stock?.close();
  element("stock").replaceChildren();
  const handlers = { onMessage: hearStock, onState: showState("stock-state") };
  stock = new Feed(`${sockets}/ws/stock/?products=${products}`, handlers);
});

function hearStock(message) {
  if (message.type === "reset") element("stock").replaceChildren();
  if (message.type === "snapshot") message.products.forEach(showStock);
  if (message.type === "stock") showStock(message);
  if (message.type === "removed") stockRow(message.product)?.remove();
}

const stockRow = (product) => element("stock").querySelector(`[data-product="${product}"]`);

function showStock({ product, stock, price }) {
  const row = stockRow(product) ?? element("stock").insertRow();
  row.dataset.product = product;
  row.dataset.stock = stock;
  const cells = [product, stock, price].map((text) => {
    const cell = document.createElement("td");
    cell.textContent = text;
    return cell;
  });
  row.replaceChildren(...cells);
}

element("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { username, password } = Object.fromEntries(new FormData(event.target));
  element("sign-in-error").textContent = "";
  try {
    const session = await Session.signIn("", username, password);
    event.target.reset();
    event.target.hidden = true;
    followOrders(session);
  } catch (error) {
    element("sign-in-error").textContent = error.message;
  }
});

function followOrders(session) {
  const onMessage = (message) => {
    if (message.type === "order") addLine(message);
    if (message.type === "reset") showOrders(session);
  };
  const onState = (state) => {
    showState("orders-state")(state);
    if (state === "signed out") element("sign-in").hidden = false;
  };
  new Feed(`${sockets}/ws/orders/`, { session, onMessage, onState });
}

function addLine({ seq, event, order, status, total_price }) {
  const line = document.createElement("li");
  line.value = seq;
  line.dataset.order = order;
  line.dataset.event = event;
  line.textContent = `order ${order} ${event}, now ${status}, ${total_price}`;
  element("orders").prepend(line);
}

/** Events have been missed: shows instead how the newest orders stand, below what comes meanwhile. */
async function showOrders(session) {
  element("orders").replaceChildren();
  for (const { id, status, total_price } of await session.get("/api/orders/?page_size=50")) {
    const line = document.createElement("li");
    line.dataset.order = id;
    line.textContent = `order ${id} is ${status}, ${total_price}`;
    element("orders").append(line);
  }
}
