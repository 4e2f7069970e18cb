/** The large figures on top. */

import { NONE, count, of, rate, sum } from "./format.js";
import { part } from "./frames.js";
import { Shown, byId } from "./rows.js";
import * as sales from "./sales.js";
import * as session from "./session.js";

const MINUTES = 5;
const text = (id) => Shown.text(byId(id));
const shown = {
  orders: text("orders-per-second"),
  ordersBeside: text("orders-beside"),
  units: text("units-per-second"),
  unitsBeside: text("units-beside"),
  amount: text("ordered-for"),
  amountBeside: text("ordered-beside"),
  low: text("low-count"),
  lowBeside: text("low-beside"),
};

function draw() {
  const orders = sales.rate("orders");
  const units = sales.rate("units");
  const total = (what) => sales.total(what, MINUTES * 60);
  shown.orders.show(orders === null ? NONE : rate(orders));
  shown.ordersBeside.show(orders === null ? "Staff see orders" : `${of(total("orders"), "order")} in ${MINUTES} min`);
  shown.units.show(units === null ? NONE : rate(units));
  shown.unitsBeside.show(units === null ? "Connecting" : `${of(total("units"), "unit")} in ${MINUTES} min`);
  shown.amount.show(orders === null ? NONE : sum(total("cents")));
  shown.amountBeside.show(session.isSignedIn() ? `in ${MINUTES} min` : "Staff see amounts");
}

/** Shows how much runs low and is sold out. */
export function showLevels({ low, out, all }) {
  shown.low.show(count(low));
  shown.lowBeside.show(`${count(out)} sold out, of ${of(all, "product")}`);
}

/** To be called when something was sold, and every second. */
export const touch = part(draw, 250);
