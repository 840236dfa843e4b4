// Two of anything beside each other: windows, versions or segments of a model.

import { get, part } from "../api.js";
import { distributionChart } from "../charts.js";
import { h } from "../dom.js";
import { localTime, none, number, share, time, title, utcTime, value } from "../format.js";
import { table } from "../table.js";
import { kept } from "./drift.js";
import { metrics } from "./performance.js";

const FEATURES = 4;

export async function compare(seen) {
  const { model, version, window, segment, record, at, query, go } = seen;
  const other = { version: query.get("with-version") ?? servedBefore(model, version) ?? version, segment: query.get("with-segment") ?? segment };
  const section = h("section", { id: "compare" }, h("div", { class: "heading" }, h("h2", {}, "Compare"), h("p", { class: "dim" }, "The chosen window, version and segment, beside another window, version or segment.")));
  const { records } = await get(`models/${part(model.model)}/windows`, { ...other, window, limit: 400 }).catch(() => ({ records: [] }));
  section.append(choices(model, window, other, records, record, query, go));
  const start = query.get("with-at");
  const same = other.version === version && other.segment === segment;
  const before = records.findLast((one) => Date.parse(one.window_start) < Date.parse(at));
  const against = records.find((one) => one.window_start === start) ?? (same ? before : records.find((one) => one.window_start === at) ?? records.at(-1));
  if (!against) {
    section.append(h("p", { class: "empty" }, "There is no other window of these: choose another version or segment above."));
    return section;
  }
  const shown = await get(`models/${part(model.model)}/distributions`, { version });
  section.append(h("div", { class: "halves" }, numbers(record, against), moved(record, against, shown)));
  return section;
}

/** The version that the registry's alias named before it came to name this one, by the last mark that says so. */
function servedBefore({ marks, versions }, version) {
  const numbered = (number) => versions.find((one) => one.split(":").at(-1) === number);
  const moved = marks.filter((one) => one.before && numbered(one.version) === version).sort((a, b) => a.time.localeCompare(b.time)).at(-1);
  return moved && numbered(moved.before);
}

function choices(model, window, other, records, record, query, go) {
  const choose = (id, label, options, chosen) => h("label", { for: `choose-${id}` }, label, h("select", { id: `choose-${id}`, onchange: (event) => {
    event.target.blur();
    go({ [id]: event.target.value });
  } }, options.map(([of, text, hint]) => h("option", { value: of, selected: of === chosen, title: hint }, text))));
  return h("div", { class: "controls", role: "group", "aria-label": "Compared with" },
    choose("with-version", "With version", model.versions.map((one) => [one, one]), other.version),
    choose("with-segment", "With segment", [["", "whole model"], ...model.segments.map((one) => [one.name, one.name])], other.segment),
    choose("with-at", "With window from", [["", other.version === record.model_version ? "the one before" : "the same"], ...[...records].reverse().map((one) => [one.window_start, localTime(one.window_start), utcTime(one.window_start)])], query.get("with-at") ?? ""));
}

const named = (one) => [one.model_version, Object.entries(one.segment).map(([name, of]) => `${name}=${of}`).join(",") || "whole model"].join(", ");

/** Whether two intervals leave no doubt that the values differ. */
const apart = (one, other) => Boolean(one && other && (one[0] > other[1] || other[0] > one[1]));

function numbers(record, against) {
  const plain = (name, read, form = number) => ({ name, one: read(record), other: read(against), form });
  const rows = [
    ...["predictions", "labels", "coverage"].map((name) => plain(title(name), (one) => one[name], (of) => value(name, of))),
    ...metrics([record, against], "performance").map((name) => ({
      ...plain(title(name), (one) => one.performance?.[name], (of) => value(name, of)), intervals: [record.performance_interval?.[name], against.performance_interval?.[name]] })),
    ...metrics([record, against], "estimated").map((name) => plain(`${title(name)}, estimated`, (one) => one.estimated?.[name], (of) => value(name, of))),
    plain("Score shift", (one) => one.prediction?.shift), plain("Error ratio", (one) => one.system?.error_ratio, share), plain("Latency, 95 %, ms", (one) => one.system?.latency_ms?.p95),
    ...[...new Set([record, against].flatMap((one) => Object.keys(one.business ?? {})))].map((name) => plain(`${title(name)}, mean`, (one) => one.business?.[name]?.mean)),
  ].filter(({ one, other }) => typeof one === "number" || typeof other === "number");
  const side = (row, place) => {
    const of = [row.one, row.other][place];
    return typeof of !== "number" ? none : [row.form(of), row.intervals?.[place] ? h("div", { class: "dim nowrap" }, `${row.form(row.intervals[place][0])} to ${row.form(row.intervals[place][1])}`) : null];
  };
  const gap = ({ one, other }) => (typeof one === "number" && typeof other === "number" ? one - other : undefined);
  return table("compare-table", [
    { name: "Number", key: "name", value: (row) => row.name },
    { name: "Chosen", key: "one", numeric: true, value: (row) => row.one, cell: (row) => side(row, 0) },
    { name: "Other", key: "other", numeric: true, value: (row) => row.other, cell: (row) => side(row, 1) },
    { name: "Difference", key: "gap", numeric: true, value: gap, cell: (row) => (gap(row) === undefined ? none : number(gap(row))) },
    { name: "Sure", key: "sure", hint: "Whether the 95 % intervals lie apart", value: (row) => Number(apart(...(row.intervals ?? []))), cell: (row) => (!row.intervals?.every(Boolean) ? none : apart(...row.intervals) ? h("strong", {}, "differs") : "may be chance") },
  ], rows, { kind: "compact cards", caption: [named(record), ", from ", time(record.window_start), " (chosen), and ", named(against), ", from ", time(against.window_start), " (other)"] });
}

/** The features whose distributions are furthest apart. */
function moved(record, against, shown) {
  const pairs = Object.entries(record.data?.features ?? {}).map(([name, of]) => ({ name, reference: shown.features?.[name], one: of.bin_counts, other: against.data?.features?.[name]?.bin_counts }))
    .filter(({ reference, one, other }) => reference && one && other).map((pair) => ({ ...pair, distance: distance(pair.one, pair.other) })).sort((a, b) => b.distance - a.distance);
  if (!pairs.length) return h("p", { class: "dim" }, "Counts by bin, to compare distributions by, are in records of the whole model only.");
  return h("div", { id: "moved" }, h("h3", {}, "Features, those furthest apart first"), h("div", { class: "charts" }, pairs.slice(0, FEATURES).map(({ name, reference, one, other, distance: far }) => {
    const { bins, used } = kept(reference, one, other);
    return distributionChart({ id: `chart-compare-${name}`, label: `${name}: ${share(far)} of requests apart`, bins, current: used(one), baseline: used(other), names: ["Chosen", "Other"] });
  })));
}

/** Half the sum of the differences of shares: total variation, the share of requests that would have to change. */
export function distance(one, other) {
  const sum = (counts) => counts.reduce((total, count) => total + count, 0) || 1;
  const [first, second] = [sum(one), sum(other)];
  return one.reduce((total, count, place) => total + Math.abs(count / first - (other[place] ?? 0) / second), 0) / 2;
}
