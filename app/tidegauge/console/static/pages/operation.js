// System and business: how fast, how dear, how often wrong, and what it is for.

import { timeChart } from "../charts.js";
import { h } from "../dom.js";
import { number, share, title } from "../format.js";
import { table } from "../table.js";
import { limitLines } from "./performance.js";

const RESOURCES = [
  ["cpu_ratio", "CPU of the service, of what it may use", share], ["memory_ratio", "Memory of the service, of what it may use", share],
  ["memory_bytes", "Memory of the service, MiB", (bytes) => number(bytes / 2 ** 20)],
  ["gpu_ratio", "GPU", share], ["gpu_memory_ratio", "Memory of the GPU", share],
];
const column = (records, read) => records.map((record) => read(record) ?? null);
const some = (values) => values.some((value) => value !== null);

export function system({ records, frame, limits }) {
  const times = records.map((one) => one.window_start);
  const latency = ["p50", "p95", "p99"].map((name) => ({ name, values: column(records, (one) => one.system?.latency_ms?.[name]) })).filter((one) => some(one.values));
  const chart = (id, label, series, format, path) => (series.some((one) => some(one.values))
    ? timeChart({ id: `chart-system-${id}`, label, times, series, format, frame, includeZero: true, limits: path ? limitLines(limits, path) : [] }) : null);
  const one = (name, read) => [{ name, values: column(records, read) }];
  return h("section", { id: "system" }, h("h2", {}, "System"), h("div", { class: "charts" },
    latency.length ? timeChart({ id: "chart-system-latency", label: "Latency, ms", times, series: latency, frame, includeZero: true, limits: ["p50", "p95", "p99"].flatMap((name) => limitLines(limits, `system.latency_ms.${name}`)) }) : null,
    chart("errors", "Error ratio", one("Errors", (record) => record.system?.error_ratio), share, "system.error_ratio"),
    chart("traffic", "Predictions a second", one("Predictions a second", (record) => record.system?.predictions_per_second), number, "system.predictions_per_second"),
    chart("cost", "Cost of a prediction", one("Mean cost", (record) => record.system?.cost?.mean), number, "system.cost.mean"),
    ...RESOURCES.map(([name, label, format]) => chart(name.replaceAll("_", "-"), label, ["p50", "p95", "max"].map((of) => ({ name: of, values: column(records, (record) => record.system?.[name]?.[of]) })), format, `system.${name}.p95`)),
    latency.length ? null : h("p", { class: "empty" }, "No latencies: services send them in the member latency_ms.")));
}

/** Values of KPIs beyond the bound of names. */
const leftOut = ({ kpi_values_left_out: count }) => (count ? h("p", { class: "trouble" }, `${number(count)} values of the chosen window are left out: the model has too many names of figures. What varies, as ids do, belongs into segments.`) : null);

export function business({ records, place, frame, limits }) {
  const names = [...new Set(records.flatMap((one) => Object.keys(one.business ?? {})))].sort();
  const times = records.map((one) => one.window_start);
  const section = h("section", { id: "business" }, h("h2", {}, "Business"));
  if (!names.length) {
    section.append(h("p", { class: "empty" }, "No business figures: services send them with the label, as in ", h("code", {}, '"business": {"converted": 1}'), "."));
    return section;
  }
  section.append(leftOut(records[place]) ?? "", h("div", { class: "charts" }, names.map((name) => {
    const band = (end) => column(records, (one) => one.business?.[name]?.interval?.mean?.[end]);
    const interval = some(band(0)) ? { low: band(0), high: band(1) } : {};
    return timeChart({
      id: `chart-business-${name}`, label: `${title(name)}, mean of a labelled prediction`, times, frame, limits: limitLines(limits, `business.${name}.mean`),
      series: [{ name: "Mean", values: column(records, (one) => one.business?.[name]?.mean), ...interval }], format: number,
    });
  })));
  const now = records[place].business ?? {};
  const keys = [...new Set(Object.values(now).flatMap((of) => Object.keys(of)))].filter((key) => key !== "interval");
  section.append(table("business-now", [{ name: "Figure", key: "name", value: ([name]) => title(name) },
    ...keys.map((key) => ({ name: title(key), key, numeric: true, value: ([, of]) => of[key], cell: ([, of]) => [number(of[key] ?? null), of.interval?.[key] ? h("div", { class: "dim nowrap" }, `${number(of.interval[key][0])} to ${number(of.interval[key][1])}`) : null] }))],
    Object.entries(now), { kind: "compact cards", caption: "In the chosen window, with 95 % intervals", empty: "No labels with business figures in the chosen window: click a plot to choose an earlier one, whose labels are in." }));
  return section;
}
