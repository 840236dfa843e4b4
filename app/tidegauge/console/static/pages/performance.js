// How well the model does: with intervals, with the estimate until labels come, windows marked by coverage; and what late labels moved.

import { get, part } from "../api.js";
import { badge } from "../badges.js";
import { reliabilityChart, timeChart } from "../charts.js";
import { h } from "../dom.js";
import { none, number, share, span, time, title, value } from "../format.js";
import { table } from "../table.js";

const ORDER = ["roc_auc", "accuracy", "brier", "f1", "log_loss", "ece", "precision", "recall", "rmse", "mae", "r2", "bias", "mape"];

/** Names of a member's plain numbers over all records, the usual ones first. */
export function metrics(records, member) {
  const names = new Set(records.flatMap((record) => Object.entries(record[member] ?? {}).filter(([name, of]) => typeof of === "number" && name !== "count").map(([name]) => name)));
  const rank = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return [...names].sort((a, b) => rank(a) - rank(b));
}

const column = (records, read) => records.map((record) => read(record) ?? null);

/** The mean that a monitor allows, as lines. */
export function limitLines(limits, path) {
  return limits.filter((limit) => limit.metric === path).flatMap((limit) => ["low", "high"].filter((end) => limit[end] !== undefined)
    .map((end) => ({ name: `${limit.monitor}: ${end === "low" ? "below" : "above"}`, value: limit[end] })));
}

export function performance(seen) {
  const { records, record } = seen;
  const names = [...new Set([...metrics(records, "performance"), ...metrics(records, "estimated")])];
  if (!names.length) {
    return h("section", { id: "performance" }, h("h2", {}, "Performance"), unreadable(record), h("p", { class: "empty" },
      "No label has been joined in these windows, and no estimate is made. Labels go to the topic labels under the prediction's request_id; the page ",
      h("a", { href: "#/stream" }, "Stream"), " says whether any arrive."));
  }
  return h("section", { id: "performance" }, h("div", { class: "heading" }, h("h2", {}, "Performance"), state(record), unreadable(record)),
    h("div", { class: "charts" }, names.map((name) => metricChart(seen, name))),
    h("div", { class: "beside" }, chosen(record, names), calibration(record)));
}

/** One metric over time with its interval, hollow where labels are still to come, and dashed what it is expected to be until then. */
export function metricChart({ records, frame, limits, segment }, name, place = "performance") {
  const values = column(records, (one) => one.performance?.[name]);
  const interval = records.some((one) => one.performance_interval?.[name]);
  const series = [{
    name: title(name), values,
    ...(interval ? { low: column(records, (one) => one.performance_interval?.[name]?.[0]), high: column(records, (one) => one.performance_interval?.[name]?.[1]) } : {}),
  }];
  if (records.some((one) => one.settled === false)) {
    series.push({ name: "not settled yet", values: column(records, (one) => (one.settled === false ? one.performance?.[name] : null)), hollow: true });
  }
  if (records.some((one) => typeof one.estimated?.[name] === "number")) {
    series.push({ name: "Estimated", dashed: true, values: column(records, (one) => one.estimated?.[name]) });
  }
  return timeChart({
    id: `chart-${place}-${name}`, label: interval ? `${title(name)}, 95 % interval` : title(name), times: column(records, (one) => one.window_start), series, frame,
    limits: segment ? [] : limitLines(limits, `performance.${name}`), format: (of) => value(name, of),
  });
}

/** What has to be known of a window's labels before its performance is believed. */
function state(record) {
  const mark = record.settled === false ? badge("warning", "not settled yet") : badge("ok", "settled");
  const counted = [`${number(record.labels)} labels of ${number(record.predictions)} predictions`, record.coverage !== undefined ? ` (${share(record.coverage)}` : "",
    record.expected_coverage !== undefined ? `, ${share(record.expected_coverage)} expected by now` : "", record.coverage !== undefined ? ")." : "."];
  return h("p", {}, "Chosen window, from ", time(record.window_start), ": ", mark, " ", record.performance_note ? h("span", { class: "note" }, `${record.performance_note}.`) : counted);
}

/** Labels and predictions of a regression that are no numbers. */
function unreadable({ unreadable_label_ratio: labels, prediction }) {
  const found = [labels ? `${share(labels)} of the labels` : "", prediction?.type_mismatch_ratio ? `${share(prediction.type_mismatch_ratio)} of the predictions` : ""].filter(Boolean);
  return found.length ? h("p", { class: "trouble" }, `${found.join(" and ")} in the chosen window are no numbers and count for nothing here.`) : null;
}

/** The share of predictions that has its label, and the share that should have it by now. */
export function coverage({ records, frame }) {
  const times = column(records, (one) => one.window_start);
  const series = [{ name: "Coverage", values: column(records, (one) => one.coverage), bars: true }];
  if (records.some((one) => one.expected_coverage !== undefined)) {
    series.push({ name: "Expected by now", values: column(records, (one) => one.expected_coverage), dashed: true });
  }
  return timeChart({ id: "chart-coverage", label: "Coverage: share with its label", times, series, frame, format: share, includeZero: true });
}

function chosen(record, names) {
  const rows = names.map((name) => ({ name, of: record.performance?.[name], interval: record.performance_interval?.[name], estimated: record.estimated?.[name] }));
  const estimated = rows.some((row) => row.estimated !== undefined);
  return table("performance-now", [
    { name: "Metric", key: "metric", value: (row) => title(row.name) },
    { name: "Value", key: "value", numeric: true, value: (row) => row.of, cell: (row) => value(row.name, row.of ?? null) },
    { name: "95 % interval", key: "interval", numeric: true, value: (row) => row.interval?.[0],
      cell: (row) => (row.interval ? `${value(row.name, row.interval[0])} to ${value(row.name, row.interval[1])}` : none) },
    ...(estimated ? [{ name: "Estimated", key: "estimated", numeric: true, value: (row) => row.estimated, cell: (row) => value(row.name, row.estimated ?? null) },
      { name: "Estimate off by", key: "off", numeric: true, hint: "In this window once it has settled, else the mean so far", value: (row) => record.estimate_error?.[row.name] ?? record.estimate_mean_absolute_error?.[row.name], cell: (row) => off(record, row.name) }] : []),
  ], rows, { kind: "compact cards", caption: ["Performance in the window from ", time(record.window_start)], empty: "Nothing is known of this window's performance yet: click a plot to choose an earlier one, whose labels are in." });
}

function calibration({ calibration: of }) {
  if (!of?.bins?.length) return null;
  const parts = Object.entries(of).filter(([, part]) => typeof part === "number").map(([name, part]) => `${title(name)} ${number(part)}`);
  return h("div", {}, reliabilityChart({ id: "chart-reliability", label: "Reliability: do scores mean what they say?", bins: of.bins }), h("p", { class: "dim" }, parts.join(" · ")));
}

function off(record, name) {
  const [own, usual] = [record.estimate_error?.[name], record.estimate_mean_absolute_error?.[name]];
  return own !== undefined ? signed(own) : usual !== undefined ? `± ${number(usual)} so far` : none;
}

/** Windows that late labels moved, and how. */
export async function restatements({ model, version, window, segment, records, frame, go }) {
  if (segment) return h("section", { id: "restatements" }, h("h2", {}, "Restatements"), h("p", { class: "empty" }, "Earlier revisions are remembered of the whole model only. ", h("button", { type: "button", class: "link", onclick: () => go({ segment: null }) }, "Show the whole model")));
  const { windows } = await get(`models/${part(model.model)}/restatements`, { version, window, from: records[0]?.window_start });
  const names = metrics(windows.flatMap((one) => one.revisions), "performance").slice(0, 3);
  const section = h("section", { id: "restatements" }, h("div", { class: "heading" }, h("h2", {}, "Restatements"),
    h("p", { class: "dim" }, "A label that comes late, or corrects an earlier one, changes the window it belongs to. Each publication of a window has a higher revision; the last one stands.")));
  if (!windows.length) {
    section.append(h("p", { class: "empty" }, "No window shown here has been published more than once, as far as the topic remembers. Show more windows above; or nothing has come late."));
    return section;
  }
  const first = (one) => one.revisions[0];
  const last = (one) => one.revisions.at(-1);
  const moved = (name) => (one) => (last(one).performance?.[name] ?? NaN) - (first(one).performance?.[name] ?? NaN);
  const before = new Map(windows.map((one) => [one.window_start, first(one)]));
  section.append(h("div", { class: "charts" }, names.map((name) => timeChart({
    id: `chart-restated-${name}`, label: `${title(name)}: first published, as it stands`, times: column(records, (one) => one.window_start), frame, format: (of) => value(name, of),
    series: [{ name: "As it stands", values: column(records, (one) => one.performance?.[name]) },
      { name: "First published", dashed: true, values: column(records, (one) => (before.get(one.window_start) ?? one).performance?.[name]) }],
  }))));
  section.append(h("div", { class: "tall" }, table("restated", [
    { name: "Window from", key: "window", value: (one) => one.window_start, cell: (one) => h("button", { type: "button", class: "link", onclick: () => go({ at: one.window_start }) }, time(one.window_start)) },
    { name: "Revision", key: "revision", numeric: true, value: (one) => last(one).revision },
    { name: "Why", key: "why", value: (one) => last(one).reason },
    { name: "Labels", key: "labels", numeric: true, value: (one) => last(one).labels - first(one).labels, cell: (one) => `${number(first(one).labels)} → ${number(last(one).labels)}` },
    ...names.map((name) => ({
      name: title(name), key: name, numeric: true, hint: "First published → as it stands, and by how much it moved",
      value: (one) => Math.abs(moved(name)(one)) || 0,
      cell: (one) => [`${value(name, first(one).performance?.[name] ?? null)} → ${value(name, last(one).performance?.[name] ?? null)}`, h("div", { class: "dim" }, signed(moved(name)(one)))],
    })),
    { name: "All revisions", key: "all", value: (one) => one.revisions.length, cell: (one) => h("details", { id: `revisions-${one.window_start}` }, h("summary", {}, `${one.revisions.length} remembered`), revisions(one.revisions, names)) },
  ], windows, { first: "-window", kind: "cards", caption: `${windows.length} restated windows` })));
  return section;
}

function revisions(all, names) {
  const heads = ["Revision", "Why", "Labels", "Coverage", ...names.map(title)];
  return h("table", { class: "numbers cards" }, h("thead", {}, h("tr", {}, heads.map((name) => h("th", {}, name)))),
    h("tbody", {}, all.map((one) => h("tr", {}, [one.revision, one.reason, number(one.labels), share(one.coverage), ...names.map((name) => value(name, one.performance?.[name] ?? null))]
      .map((cell, place) => h("td", { "data-label": heads[place] }, String(cell)))))));
}

function signed(of) {
  return Number.isFinite(of) ? `${of >= 0 ? "+" : "−"}${number(Math.abs(of))}` : none;
}

/** How the labels arrive: coverage over time, and how late they are. */
export function labels(seen) {
  const { record } = seen;
  const delay = record.label_delay_seconds;
  return h("section", { id: "labels" }, h("div", { class: "heading" }, h("h2", {}, "Labels"), state(record),
    delay ? h("p", {}, `Half of the labels of the chosen window came within ${span(delay.p50)}, 95 % within ${span(delay.p95)}.`) : null),
    h("div", { class: "charts" }, coverage(seen), lateness(seen)));
}

function lateness({ records, frame }) {
  if (!records.some((one) => one.label_delay_seconds)) return null;
  const hours = (name) => column(records, (one) => (one.label_delay_seconds ? one.label_delay_seconds[name] / 3600 : null));
  return timeChart({
    id: "chart-delay", label: "Label delay: 50 % and 95 % come within", times: column(records, (one) => one.window_start), frame, includeZero: true,
    series: [{ name: "50 %", values: hours("p50") }, { name: "95 %", values: hours("p95") }], format: (of) => span(of * 3600),
  });
}
