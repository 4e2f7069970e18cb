/** The chart of what was sold over the last minutes. */

import { NONE, brief, clock, rate } from "./format.js";
import { part } from "./frames.js";
import { Shown, byId } from "./rows.js";
import * as sales from "./sales.js";
import uPlot from "./vendor/uplot/uPlot.esm.js";

const FONT = "12px system-ui, sans-serif";
const box = byId("chart");
const legend = {
  units: Shown.text(byId("legend-units-value")),
  orders: Shown.text(byId("legend-orders-value")),
  time: Shown.text(byId("legend-time")),
};
const described = Shown.text(byId("chart-text"));
let seconds = 300;
let withOrders = false;
let plot = null;

/** Colours come from the style sheet, so that the theme is told in one place. */
const colour = (name) => getComputedStyle(box).getPropertyValue(`--chart-${name}`);

const axis = (more) => ({
  stroke: () => colour("text"),
  font: FONT,
  grid: { stroke: () => colour("grid"), width: 1 },
  ticks: { show: false },
  ...more,
});
const fromZero = (_, __, max) => [0, max > 0 ? max * 1.08 : 1];
const rates = (_, splits) => splits.map((value) => (value === null ? "" : brief(value)));

function make() {
  plot?.destroy();
  const options = {
    width: box.clientWidth,
    height: box.clientHeight,
    padding: [8, withOrders ? 0 : 12, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
    scales: { x: { time: true }, units: { range: fromZero }, orders: { range: fromZero } },
    axes: [
      axis({ values: (_, splits) => splits.map((at) => clock(at * 1000)), space: 72, size: 28 }),
      axis({ scale: "units", values: rates, size: 46 }),
      axis({ scale: "orders", values: rates, size: 46, side: 1, grid: { show: false }, show: withOrders }),
    ],
    series: [
      {},
      { scale: "units", stroke: () => colour("units"), fill: () => colour("units-fill"), width: 1.5, points: { show: false } },
      // Told apart by more than its colour.
      { scale: "orders", stroke: () => colour("orders"), dash: [5, 3], width: 1.5, points: { show: false }, show: withOrders },
    ],
    hooks: { setCursor: [showValues] },
  };
  plot = new uPlot(options, data(), box);
  showValues();
}

const data = () => sales.series(seconds, ["units", "orders"]);

/** The values under the mouse, or the newest. */
function showValues() {
  const [times, units, orders] = plot.data;
  const index = plot.cursor.idx ?? times.length - 1;
  const value = (column) => (column[index] == null ? NONE : rate(column[index]));
  legend.units.show(value(units));
  legend.orders.show(value(orders));
  legend.time.show(plot.cursor.idx == null ? "" : clock(times[index] * 1000));
}

function draw() {
  // Before the page is laid out there is no room to draw in.
  if (!plot) return box.clientWidth > 0 ? make() : undefined;
  plot.setData(data());
  showValues();
  const units = sales.rate("units");
  const orders = withOrders ? ` and ${rate(sales.rate("orders") ?? 0)} orders` : "";
  described.show(units === null ? "No sales seen yet." : `Of late ${rate(units)} units${orders} a second.`);
}

/** Whether the orders have a line of their own. */
export function showOrders(wanted) {
  if (withOrders === wanted) return;
  withOrders = wanted;
  if (plot) make();
}

new ResizeObserver(() => plot?.setSize({ width: box.clientWidth, height: box.clientHeight })).observe(box);
document.addEventListener("theme", () => plot?.redraw());
byId("span").addEventListener("change", ({ target }) => {
  seconds = Number(target.value);
  touch();
});

/** To be called every second. */
export const touch = part(draw, 500);
