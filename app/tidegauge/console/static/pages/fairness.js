// What sets the values of a dimension apart: its measures, the chosen one over time, and the values it lies between.

import { get, part } from "../api.js";
import { exceeded } from "../badges.js";
import { timeChart } from "../charts.js";
import { h } from "../dom.js";
import { number, time, title, value } from "../format.js";
import { table } from "../table.js";
import { limitLines } from "./performance.js";

const GAP = /_gap$/;
const RATIO = "disparate_impact_ratio";
/** Measures that a segment's own performance tells, under that name. */
const TOLD = { accuracy: "accuracy", precision: "precision", true_positive_rate: "recall" };

/** `all`: the records of every segment of the chosen window. */
export async function fairness({ model, version, window, records, record, frame, limits, query, go }, all) {
  const dimensions = [...new Set(records.flatMap((one) => (Object.keys(one.segment).length ? [] : Object.keys(one.fairness ?? {}))))];
  if (!dimensions.length) return h("p", { class: "empty" }, "No gaps between segments here: they need at least 100 labels of each of two values of a dimension in a window, and the whole model chosen above. Longer windows hold more labels.");
  return Promise.all(dimensions.map((dimension) => gaps({ model, version, window, records, record, frame, limits, query, go }, all, dimension)));
}

async function gaps({ model, version, window, records, record, frame, limits, query, go }, all, dimension) {
  const path = (row) => `fairness.${dimension}.${row.name}`;
  const rows = measures(record.fairness?.[dimension], all, dimension).map((row) => ({ ...row, over: limits.filter((limit) => limit.metric === path(row) && (row.value > (limit.high ?? Infinity) || row.value < (limit.low ?? -Infinity))) }));
  const chosen = rows.find((row) => `${dimension}.${row.name}` === query.get("gap")) ?? [...rows].sort((a, b) => b.over.length - a.over.length || (a.p ?? 1) - (b.p ?? 1))[0];
  const side = (of) => (of ? [of.name, of.value === undefined ? null : h("span", { class: "dim" }, ` ${number(of.value)}`)] : "–");
  return h("div", { class: "gaps" }, h("h3", {}, `Gaps between values of ${dimension}`),
    table(`fairness-${dimension}`, [
      { name: "Measure", key: "measure", value: (row) => title(row.name), cell: (row) => h("button", { type: "button", class: "link", id: `gap-${dimension}-${row.name}`, "aria-pressed": String(row === chosen), onclick: () => go({ gap: `${dimension}.${row.name}` }) }, title(row.name)) },
      { name: "Value", key: "value", numeric: true, value: (row) => row.value, cell: (row) => number(row.value) },
      { name: "p", key: "p", numeric: true, hint: "How likely such a gap is where all values are alike", value: (row) => row.p, cell: (row) => number(row.p ?? null) },
      { name: "Smallest", key: "least", value: (row) => row.least?.name, cell: (row) => side(row.least), hint: "The value of the dimension where the measure is smallest" },
      { name: "Largest", key: "most", value: (row) => row.most?.name, cell: (row) => side(row.most), hint: "The value of the dimension where the measure is largest" },
      { name: "Over a limit", key: "over", value: (row) => row.over.length, cell: (row) => exceeded(row.over, limits.some((limit) => limit.metric === path(row))), hint: "Monitors whose limit this window's value is beyond; an alert also needs significance and enough labels" },
    ], rows, { first: "p", kind: "compact cards", caption: [`By ${dimension}, in the window from `, time(record.window_start), ". Choose a measure to see it over time."], empty: "Too few labels in the chosen window: click a plot to choose an earlier one, whose labels are in.", row: (row) => (row === chosen ? { class: "chosen" } : {}) }),
    chosen ? h("div", { class: "charts" }, timeChart({
      id: `chart-fairness-${dimension}`, label: `${title(chosen.name)} between values of ${dimension}`, times: records.map((one) => one.window_start), frame, includeZero: true,
      series: [{ name: title(chosen.name), values: records.map((one) => one.fairness?.[dimension]?.[chosen.name] ?? null) }],
      limits: limitLines(limits, path(chosen)), format: number,
    }), await between({ model, version, window, records, frame }, dimension, chosen)) : null);
}

/** The measures of one dimension in one window, each with the values it lies between. */
function measures(of, all, dimension) {
  return Object.entries(of ?? {}).filter(([name, value]) => typeof value === "number" && !name.endsWith("_p_value")).map(([name, value]) => {
    const measure = name === RATIO ? "selection_rate" : name.replace(GAP, "");
    const [least, most] = (of.extremes?.[measure] ?? []).map((one) => ({ name: one, value: all.find((record) => named(record.segment, dimension) === one)?.performance?.[TOLD[measure]] }));
    return { name, measure, value, p: of[`${name}_p_value`], least, most };
  });
}

const named = (segment, dimension) => (Object.keys(segment).join("+") === dimension ? Object.values(segment).join(",") : null);

/** The two values' own numbers over time, where their records tell them. */
async function between({ model, version, window, records, frame }, dimension, { measure, least, most }) {
  const metric = TOLD[measure];
  if (!metric || !least || !most) return null;
  const sides = await Promise.all([least, most].map(async ({ name }) => {
    const segment = model.segments.find((one) => named(one.segment, dimension) === name)?.name;
    const { records: own } = await get(`models/${part(model.model)}/windows`, { version, window, segment, from: records[0].window_start, members: "performance" });
    const at = new Map(own.map((one) => [one.window_start, one.performance?.[metric]]));
    return { name, values: records.map((one) => at.get(one.window_start) ?? null) };
  }));
  return timeChart({ id: `chart-between-${dimension}`, label: `${title(metric)} of ${least.name} and ${most.name}`, times: records.map((one) => one.window_start), frame, series: sides, format: (of) => value(metric, of) });
}
