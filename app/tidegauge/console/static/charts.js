// Plots over time and of distributions, drawn by uPlot. Each has its numbers as a table below, for those who cannot or do not want to see it.

import { h } from "./dom.js";
import { dayOfYear, localTime, none, number, utcTime } from "./format.js";
import { drawMarks, laneOf, pointedAt } from "./marks.js";

const drawn = new Set();
const COLORS = ["--line-1", "--line-2", "--line-3", "--line-4"];
const DASHES = [undefined, [8, 4], [2, 3], [10, 3, 2, 3]];
const HEIGHT = 190;

const LETTER = 6.6;
const LONGEST_NAME = 14;
/** More bars would be one block: then it is an area. */
const MOST_BARS = 60;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** After a change of colours. */
export function redrawCharts() {
  for (const plot of drawn) plot.redraw(false, true);
}

/** Draw the plots in `root`, now that it is in the document, and keep them as wide as their places. */
export function drawCharts(root) {
  for (const host of root.querySelectorAll(".plot")) watching.observe(host);
}

/** On paper plots are as wide as half of a page, in light colours, whatever the screen; after that as they were. */
const ON_PAPER = { width: 340, height: 170 };
let shownTheme = null;

window.addEventListener("beforeprint", () => {
  const root = document.documentElement;
  shownTheme = root.dataset.theme;
  root.dataset.theme = "light";
  for (const plot of drawn) {
    plot.onScreen = { width: plot.width, height: plot.height };
    plot.setSize(ON_PAPER);
  }
  redrawCharts();
});
window.addEventListener("afterprint", () => {
  if (shownTheme) document.documentElement.dataset.theme = shownTheme;
  for (const plot of drawn) plot.setSize(plot.onScreen ?? ON_PAPER);
  redrawCharts();
});

const watching = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const width = Math.floor(contentRect.width);
    if (!target.isConnected) forget(target);
    else if (width > 0 && !target.plot) make(target, width);
    else if (width > 0 && target.plot.width !== width) target.plot.setSize({ width, height: target.plot.height });
  }
});

/** On a screen that is wide enough, plots of a dense part of a page are lower, so that more of them are seen at once; still lower where the screen is. */
const WIDE = "(min-width: 1200px)";
const LOW = "(max-height: 860px)";
const DENSITY = [[".dense .small", 0.6, 0.48], [".dense:not(.system, .business)", 0.8, 0.62], [".incident-page", 0.75, 0.6]];

/** Marks of the legend follow a change of colours by themselves. */
const LEGEND = { live: true, markers: { width: 3, stroke: (plot, place) => `var(${plot.series[place].marker})` } };

function make(host, width) {
  const [, tall, low] = (window.matchMedia(WIDE).matches && DENSITY.find(([place]) => host.closest(place))) || [null, 1, 1];
  const height = Math.round(host.options.height * (window.matchMedia(LOW).matches ? low : tall));
  host.plot = new window.uPlot({ ...host.options, legend: LEGEND, width, height }, host.data, host);
  drawn.add(host.plot);
}

function forget(host) {
  watching.unobserve(host);
  if (host.plot) {
    drawn.delete(host.plot);
    host.plot.destroy();
  }
}

const axis = (more = {}) => ({
  stroke: () => css("--dim"), grid: { stroke: () => css("--grid"), width: 1 }, ticks: { stroke: () => css("--grid"), width: 1 },
  font: "12px system-ui, sans-serif", ...more,
});

/** Ticks of a time axis in the reader's zone: the time of day, and the date where it changes; dates only where ticks are days apart, the year with the first. */
function clock(plot, ticks, axisIndex, space, step) {
  let day = "";
  return ticks.map((tick, place) => {
    const [date, hour] = localTime(tick * 1000).split(" ");
    const same = date === day;
    day = date;
    return step >= 86400 ? dayOfYear(tick * 1000, place === 0) : same ? hour : `${hour}\n${dayOfYear(tick * 1000, place === 0)}`;
  });
}

/**
 * Values over time. `times`: RFC 3339, ascending. `series`: {name, values, dashed, hollow, bars, low, high}: `hollow` draws only rings,
 * `low` and `high` a band around the line. `limits`: {name, value} as level lines. `frame` is what all plots of a page share: `pick(index)`
 * is called with a clicked window, `brush(from, to)` with a range dragged over, `chosen` is the index of the chosen window, `marks` as in marks.js.
 */
export function timeChart({ id, label, times, series, limits = [], format = number, frame = {}, height = HEIGHT, includeZero = false, moment = "Window from" }) {
  const { pick, brush, chosen = -1, marks = [] } = frame;
  if (!times.length) return h("p", { class: "empty" }, "No windows in this range: choose a longer one above.");
  const x = times.map((time) => Date.parse(time) / 1000);
  const data = [x];
  const shown = [{ label: moment, value: (plot, at) => (at === null ? none : moments(at * 1000)) }];
  const bands = [];
  let line = 0;
  for (const one of series) {
    const hue = one.hollow ? line - 1 : line;
    const color = COLORS[Math.max(hue, 0) % COLORS.length];
    const stroke = () => css(color);
    if (one.low) {
      const place = data.length;
      for (const [edge, name] of [[one.high, "upper"], [one.low, "lower"]]) {
        data.push(edge);
        shown.push({ label: `${one.name}, ${name}`, class: "edge", stroke: "transparent", value: (plot, of) => text(of, format), points: { show: false } });
      }
      bands.push({ series: [place, place + 1], fill: () => `color-mix(in srgb, ${stroke()} 18%, transparent)` });
    }
    data.push(one.values);
    shown.push({
      label: one.name, class: label.startsWith(one.name) ? "titled" : undefined, marker: color, stroke, width: one.hollow ? 1.5 : 2, value: (plot, of, _, at) => text(of, format) + between(one, at, format),
      dash: one.dashed ? [6, 4] : DASHES[hue % DASHES.length],
      paths: one.hollow ? () => null : one.bars && times.length <= MOST_BARS ? window.uPlot.paths.bars({ size: [0.7, 40] }) : undefined,
      fill: one.bars ? () => `color-mix(in srgb, ${stroke()} 30%, transparent)` : undefined,
      points: one.hollow ? { show: true, size: 8, fill: () => css("--surface"), stroke } : { show: !one.bars && times.length <= 60, size: 4, fill: stroke },
    });
    if (!one.hollow) line += 1;
  }
  for (const limit of limits) {
    data.push(x.map(() => limit.value));
    shown.push({ label: limit.name, marker: "--critical", stroke: () => css("--critical"), width: 1.5, dash: [3, 3], points: { show: false }, value: (plot, of) => text(of, format) });
  }
  const lane = laneOf(marks, x[0], x.at(-1));
  const days = x.at(-1) - x[0] > 6 * 86400;
  const options = {
    height: height + lane.height, series: shown, bands, padding: [4 + lane.height, null, 0, 0],
    axes: [axis({ values: clock, space: () => (days ? 84 : 60), size: days ? 30 : 42 }), axis({ size: sizeOf, values: (plot, ticks) => ticks.map((tick) => format(tick).replace(".0 %", " %")) })],
    scales: { y: { range: (plot, low, high) => range(low, high, includeZero) } },
    cursor: { points: { size: 7 }, drag: { x: Boolean(brush), y: false, setScale: false, dist: 5 }, ...(pick ? { sync: TOGETHER } : {}) },
    hooks: {
      draw: [(plot) => drawMarks(plot, x[chosen], lane.seen)], setSelect: brush ? [(plot) => brushed(plot, brush)] : [],
      ready: [(plot) => atRest(plot, chosen)],
      setCursor: [(plot) => {
        plot.over.title = pointedAt(plot, lane.seen);
        atRest(plot, chosen);
      }],
    },
  };
  const host = plotted(options, data, label);
  if (pick) {
    host.classList.add("picks");
    host.addEventListener("click", () => {
      const place = host.plot?.cursor.idx;
      if (typeof place === "number" && !host.plot.select.width) pick(place);
    });
  }
  const columns = series.flatMap((one) => (one.hollow ? [] : one.low ? [one, { name: `${one.name}, lower`, values: one.low }, { name: `${one.name}, upper`, values: one.high }] : [one]));
  return figure(id, host, label, () => numbers(times.map(localTime), times.map(utcTime), columns, format));
}

/** Where nothing is pointed at, the legend tells the chosen window's values. */
function atRest(plot, chosen) {
  if (plot.cursor.idx === null || plot.cursor.idx === undefined) plot.setLegend({ idx: chosen < 0 ? null : chosen });
}

/** A moment in the reader's zone and in UTC, once where both are the same. */
function moments(at) {
  const [here, there] = [localTime(at), utcTime(at)];
  return there === `${here} UTC` ? there : `${here} (${there})`;
}

/** As wide as the longest number of an axis. */
function sizeOf(plot, values) {
  return Math.round(Math.max(2.5, ...(values ?? []).map((value) => String(value).length)) * LETTER) + 20;
}

function text(of, format) {
  return of === null || of === undefined ? none : format(of);
}

function between({ low, high }, at, format) {
  return low && at !== null && typeof low[at] === "number" ? ` (${format(low[at])} to ${format(high[at])})` : "";
}

function range(low, high, zero) {
  if (low === null || high === null) return [0, 1];
  const bottom = zero ? Math.min(low, 0) : low;
  const pad = (high - bottom) * 0.08 || Math.abs(high) * 0.1 || 0.1;
  return [zero && low >= 0 ? 0 : bottom - pad, high + pad];
}

/** Pointing at a moment in one plot points at it in all of a page; what is dragged over is told by the plot it happened in. */
const TOGETHER = { key: "page", setSeries: false, filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } };

function brushed(plot, brush) {
  const { left, width } = plot.select;
  const time = (place) => new Date(Math.round(plot.posToVal(place, "x")) * 1000).toISOString().replace(".000Z", "Z");
  if (width > 5) brush(time(left), time(left + width));
}

/** Shares of samples bin by bin: bars for this window, outlines for the baseline and, where it is known, the window before; `names` of the first two. */
export function distributionChart({ id, label, bins, current, before = null, baseline, names = ["This window", "Baseline"], height = HEIGHT }) {
  const places = bins.map((_, place) => place);
  const share = (counts) => {
    const sum = counts?.reduce((total, count) => total + count, 0);
    return counts ? counts.map((count) => (sum ? count / sum : 0)) : places.map(() => null);
  };
  const percent = (value) => `${(value * 100).toFixed(1)} %`;
  const data = [places, share(current), share(baseline), ...(before ? [share(before)] : [])];
  const bars = window.uPlot.paths.bars;
  const options = {
    height,
    scales: { x: { time: false, range: [-0.6, bins.length - 0.4] }, y: { range: (plot, low, high) => [0, Math.max(high ?? 0, 0.01) * 1.08] } },
    axes: [
      axis({ splits: () => places, values: (plot, ticks) => shorten(ticks.map((tick) => bins[tick] ?? ""), plot), size: 30 }),
      axis({ size: 58, values: (plot, ticks) => ticks.map((tick) => `${Number((tick * 100).toFixed(1))} %`) }),
    ],
    series: [
      { label: "Bin", value: (plot, at) => bins[at] ?? none },
      { label: names[0], marker: "--line-1", stroke: () => css("--line-1"), fill: () => `color-mix(in srgb, ${css("--line-1")} 45%, transparent)`, paths: bars({ size: [0.8, 60] }), points: { show: false }, value: (plot, of) => text(of, percent) },
      outline(names[1], "--line-2", 0.94, [5, 3], percent),
      ...(before ? [outline("Window before", "--line-3", 0.6, [2, 2], percent)] : []),
    ],
    cursor: { drag: { x: false, y: false }, points: { show: false } },
  };
  return figure(id, plotted(options, data, label), label, () =>
    numbers(bins, null, [{ name: names[0], values: data[1] }, { name: names[1], values: data[2] }, ...(before ? [{ name: "Window before", values: data[3] }] : [])], percent));
}

const outline = (name, color, size, dash, format) => ({
  label: name, marker: color, stroke: () => css(color), width: 2, dash, paths: window.uPlot.paths.bars({ size: [size, 70] }), points: { show: false }, value: (plot, of) => text(of, format),
});

/** What came true against what scores said, bin by bin; on the diagonal scores mean what they say. */
export function reliabilityChart({ id, label, bins, height = HEIGHT + 40 }) {
  const x = bins.map((bin) => bin.mean_score);
  const percent = (value) => `${(value * 100).toFixed(1)} %`;
  const edge = (end) => bins.map((bin) => bin.interval?.[end] ?? null);
  const hidden = (name) => ({ label: name, class: "edge", stroke: "transparent", points: { show: false } });
  const told = { low: edge(0), high: edge(1) };
  const options = {
    height,
    scales: { x: { time: false, range: [0, 1] }, y: { range: [0, 1] } },
    axes: [axis({ values: (plot, ticks) => ticks.map((tick) => `${Number((tick * 100).toFixed(1))} %`) }), axis({ size: 62, values: (plot, ticks) => ticks.map((tick) => `${Number((tick * 100).toFixed(1))} %`) })],
    series: [
      { label: "Mean score", value: (plot, of) => text(of, percent) }, hidden("upper"), hidden("lower"),
      { label: "Came true", marker: "--line-1", stroke: () => css("--line-1"), width: 2, points: { show: true, size: 7, fill: () => css("--line-1") }, value: (plot, of, _, at) => text(of, percent) + between(told, at, percent) },
      { label: "If scores were true", marker: "--dim", stroke: () => css("--dim"), dash: [3, 3], points: { show: false }, value: (plot, of) => text(of, percent) },
    ],
    bands: [{ series: [1, 2], fill: () => `color-mix(in srgb, ${css("--line-1")} 18%, transparent)` }],
    cursor: { drag: { x: false, y: false } },
  };
  const host = plotted(options, [x, told.high, told.low, bins.map((bin) => bin.positive_ratio), x], label);
  return figure(id, host, label, () => numbers(x.map(percent), null, [
    { name: "Came true", values: bins.map((bin) => bin.positive_ratio) }, { name: "lower", values: told.low }, { name: "upper", values: told.high }], percent));
}

/** Every n-th bin's name where all would not fit beside each other. */
function shorten(names, plot) {
  const short = names.map((name) => (name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name));
  const room = plot.bbox.width / devicePixelRatio / Math.max(names.length, 1);
  const step = Math.ceil((Math.max(...short.map((name) => name.length)) * LETTER + 8) / room);
  return short.map((name, place) => (place % step ? "" : name));
}

function plotted(options, data, label) {
  const host = h("div", { class: "plot", role: "img", "aria-label": label });
  host.options = options;
  host.data = data;
  return host;
}

function figure(id, host, label, rows) {
  const details = h("details", { id: `${id}-numbers`, ontoggle: () => {
    if (details.open && details.childElementCount === 1) details.append(rows());
  } }, h("summary", {}, "As a table"));
  return h("figure", { id }, h("figcaption", {}, label), host, details);
}

function numbers(names, hints, columns, format) {
  return h("div", { class: "scroll" }, h("table", { class: "numbers" },
    h("thead", {}, h("tr", {}, h("th", {}, ""), columns.map((one) => h("th", { class: "number" }, one.name)))),
    h("tbody", {}, names.map((name, place) => h("tr", {}, h("th", { scope: "row", title: hints?.[place] }, name),
      columns.map((one) => h("td", { class: "number" }, text(one.values[place], format))))))));
}
