// Whom a change concerns: every segment of the chosen window, and the gaps between them.

import { get, part } from "../api.js";
import { timeChart } from "../charts.js";
import { h } from "../dom.js";
import { localTime, none, number, share, title, value } from "../format.js";
import { table } from "../table.js";
import { limitLines, metrics } from "./performance.js";

const GAP = /_gap$/;

export async function segments({ model, version, window, at, records, record, place, pick, limits, go }) {
  const section = h("section", { id: "segments" }, h("h2", {}, "Segments and fairness"));
  if (!model.segments.length) {
    section.append(h("p", { class: "empty" }, "The model has no segments. Name the dimensions in its spec, as in ", h("code", {}, "segments: [region, device]"), ", and send them in the member segments."));
    return section;
  }
  const { records: all } = await get(`models/${part(model.model)}/segments`, { version, window, window_start: at });
  const names = metrics(all, "performance").slice(0, 4);
  const drifted = (one) => Math.max(...Object.values(one.data?.features ?? {}).map((of) => of.psi ?? -Infinity));
  section.append(table("segments-table", [
    { name: "Segment", key: "segment", value: (one) => label(one), cell: (one) => h("button", { type: "button", class: "link", onclick: () => go({ segment: key(one) }) }, label(one)) },
    { name: "Predictions", key: "predictions", numeric: true, value: (one) => one.predictions, cell: (one) => number(one.predictions) },
    { name: "Coverage", key: "coverage", numeric: true, value: (one) => one.coverage, cell: (one) => share(one.coverage) },
    ...names.map((name) => ({ name: title(name), key: name, numeric: true, value: (one) => one.performance?.[name], cell: (one) => [value(name, one.performance?.[name] ?? null), interval(one, name)] })),
    { name: "Score PSI", key: "score-psi", numeric: true, value: (one) => one.prediction?.psi, cell: (one) => number(one.prediction?.psi ?? null) },
    { name: "Largest feature PSI", key: "feature-psi", numeric: true, value: (one) => (Number.isFinite(drifted(one)) ? drifted(one) : undefined), cell: (one) => (Number.isFinite(drifted(one)) ? number(drifted(one)) : none) },
  ], all, { first: "-predictions", kind: "cards", caption: `All segments in the window from ${localTime(at)}`, empty: "No segment has a record of this window.", row: (one) => (key(one) === key(record) ? { class: "chosen" } : {}) }));
  section.append(fairness(records, record, place, pick, limits));
  return section;
}

const key = (record) => Object.entries(record.segment).map(([name, of]) => `${name}=${of}`).join(",");
const label = (record) => key(record) || "whole model";

function interval(record, name) {
  const of = record.performance_interval?.[name];
  return of ? h("div", { class: "dim nowrap" }, `${value(name, of[0])} to ${value(name, of[1])}`) : null;
}

const ends = (of) => (Array.isArray(of) ? of.join(", ") : of ? Object.values(of).join(", ") : none);

function fairness(records, record, place, pick, limits) {
  const whole = records.filter((one) => !Object.keys(one.segment).length);
  const dimensions = [...new Set(whole.flatMap((one) => Object.keys(one.fairness ?? {})))];
  if (!dimensions.length) return h("p", { class: "empty" }, "No gaps between segments here: they need enough labels in at least two values of a dimension, and the whole model chosen above.");
  const times = records.map((one) => one.window_start);
  return h("div", {}, dimensions.map((dimension) => {
    const of = (one) => one.fairness?.[dimension];
    const names = [...new Set(records.flatMap((one) => Object.keys(of(one) ?? {})))].filter((name) => GAP.test(name));
    const now = of(record) ?? {};
    const rows = Object.entries(now).filter(([name, value]) => typeof value === "number" && !name.endsWith("_p_value")).map(([name, value]) => ({ name, value, p: now[`${name}_p_value`], ends: now.extremes?.[name.replace(GAP, "")] }));
    return [h("h3", {}, `Gaps between values of ${dimension}`),
      h("div", { class: "charts" }, names.map((name) => timeChart({
        id: `chart-fairness-${dimension}-${name}`, label: `${title(name)} by ${dimension}`, times, pick, chosen: place, includeZero: true,
        series: [{ name: title(name), values: records.map((one) => (typeof of(one)?.[name] === "number" ? of(one)[name] : null)) }],
        limits: limitLines(limits, `fairness.${dimension}.${name}`), format: number,
      }))),
      table(`fairness-${dimension}`, [
        { name: "Measure", key: "measure", value: (row) => title(row.name) },
        { name: "Value", key: "value", numeric: true, value: (row) => row.value, cell: (row) => number(row.value) },
        { name: "p", key: "p", numeric: true, hint: "How likely such a gap is where all values are alike", value: (row) => row.p, cell: (row) => number(row.p ?? null) },
        { name: "Smallest and largest", key: "ends", value: (row) => ends(row.ends) },
      ], rows, { kind: "compact", caption: `By ${dimension}, in the chosen window`, empty: "Too few labels in the chosen window." })];
  }));
}
