// What the inputs and the score do: ranked by drift, each with its distribution against the baseline.

import { get, part } from "../api.js";
import { badge, exceeded } from "../badges.js";
import { distributionChart, timeChart } from "../charts.js";
import { h } from "../dom.js";
import { none, number, share, time, title, value } from "../format.js";
import { table } from "../table.js";
import { AT_ONCE, heatmap } from "./heatmap.js";
import { limitLines } from "./performance.js";

const SCORE = " score";
/** As many as there are colours. */
const COMMONEST = 4;
const SEVERITY = { critical: 3, warning: 2, info: 1 };

export async function drift(seen) {
  const { model, version, records, record, frame, limits, query, go } = seen;
  const shown = await get(`models/${part(model.model)}/distributions`, { version });
  const features = Object.entries(record.data?.features ?? {}).map(([name, of]) => ({ name, ...of }));
  const score = Object.keys(record.prediction ?? {}).length ? [{ name: SCORE, count: record.predictions, missing_ratio: record.prediction.abstain_ratio, mean: record.prediction.mean_score ?? record.prediction.mean_value, ...record.prediction }] : [];
  const rows = [...score, ...features];
  const compared = record.compared_with;
  const heading = h("div", { class: "heading" }, h("h2", {}, "Score and feature drift"),
    h("p", { class: "dim" }, compared?.source === "none" ? `Not compared with a baseline: ${compared.reason}.` : ["Compared with ", words(compared), ". Choose a feature to see its distribution."]));
  const section = h("section", { id: "drift" }, heading);
  if (!rows.length) {
    section.append(h("p", { class: "empty" }, "The predictions of this window carry no features. Services send them in the member features."));
    return section;
  }
  // Where bins came from a sketch there is a PSI and no shift.
  const key = rows.every((row) => row.psi === undefined || moved(row) !== undefined) ? "shift" : "psi";
  const by = MEASURES.find((one) => one.key === key);
  const ranked = [...rows].sort((a, b) => (by.value(b) ?? -1) - (by.value(a) ?? -1));
  const asked = query.get("feature");
  const severest = (row) => Math.max(0, ...over(held(row, limits)).map(({ severity }) => SEVERITY[severity] ?? 0));
  const chosen = rows.find((row) => row.name === asked) ?? [...ranked].sort((a, b) => severest(b) - severest(a))[0];
  const names = (record.data?.missing_features ?? []).concat(record.data?.unexpected_features ?? []);
  if (names.length) heading.append(h("p", {}, broken("missing altogether", record.data.missing_features), broken("unexpected", record.data.unexpected_features)));
  const most = query.get("features") === "all" ? ranked : ranked.filter((row, place) => place < AT_ONCE || row === chosen);
  section.append(list(most, by, chosen, limits, go));
  if (most.length < rows.length) section.append(h("p", {}, h("button", { type: "button", id: "more-measures", onclick: () => go({ features: "all" }) }, `All ${number(features.length)} features`)));
  section.append(attributions(record, limits) ?? "");
  const own = detail(chosen, shown, seen);
  return asked ? [own, await heatmap(seen), section] : [await heatmap(seen), own, section];
}

const words = (compared) => (compared?.source === "previous" ? ["the window from ", time(compared.window_start)] : compared?.source === "learned" ? "a baseline learned from the first predictions" : "the reference data");

const label = (name) => (name === SCORE ? "score (what the model says)" : name);

function broken(what, features = []) {
  return features.length ? [badge("critical", what), " ", features.map((name) => [h("code", {}, name), " "])] : null;
}

/** The limits that hold a row's numbers, and those of them that are passed. */
function held(row, limits, prefix = row.name === SCORE ? "prediction" : `data.features.${row.name}`) {
  return limits.filter((limit) => limit.metric.startsWith(`${prefix}.`) && !limit.metric.slice(prefix.length + 1).includes(".")).map((limit) => ({ ...limit, value: row[limit.metric.slice(prefix.length + 1)] }));
}
const over = (limits) => limits.filter(({ value, high = Infinity, low = -Infinity }) => value > high || value < low);
const passed = (limits) => ({ name: "Over a limit", key: "over", value: (row) => over(limits(row)).length, cell: (row) => exceeded(over(limits(row)), limits(row).length > 0) });

/** What the default monitors hold to a limit: of numbers and categories, in standard deviations. */
const moved = (row) => row.shift ?? row.mix_shift;
const plain = (name, key, hint, format = number) => ({ name, key, hint, numeric: true, secondary: true, value: (row) => row[key], cell: (row) => (row[key] === undefined ? none : format(row[key])) });
const MEASURES = [
  { name: "Shift", key: "shift", numeric: true, hint: "The largest standardised difference from the baseline over six directions (numbers), or of the mix (categories)", value: moved,
    cell: (row) => [number(moved(row) ?? null), row.shift_in ? h("div", { class: "dim nowrap" }, row.shift_in.replaceAll("_", " ")) : null] },
  plain("PSI", "psi", "Population stability index against the baseline's bins"),
  plain("p", "p_value", "How likely such a distance is where nothing has changed"),
  plain("KS", "ks", "Largest distance of the two cumulative distributions"),
  plain("JS", "js", "Jensen-Shannon distance"),
  plain("Missing", "missing_ratio", "Share of missing values", share),
  plain("Wrong type", "type_mismatch_ratio", "Share of values of a wrong type", share),
  { name: "Unseen or out of range", key: "odd", numeric: true, secondary: true, value: (row) => row.unseen_ratio ?? row.out_of_range_ratio, cell: (row) => share(row.unseen_ratio ?? row.out_of_range_ratio) },
  plain("Mean", "mean"),
];

function list(rows, by, chosen, limits, go) {
  const [shift, ...others] = MEASURES;
  return table("drift-table", [
    { name: "Feature", key: "feature", value: (row) => label(row.name), cell: (row) => h("button", { type: "button", class: "link", id: `feature-${row.name.trim()}`, "aria-pressed": String(row === chosen), onclick: () => go({ feature: row.name }) }, label(row.name)) },
    shift,
    { ...passed((row) => held(row, limits)), hint: "Monitors whose limit this window's value is beyond; an alert also needs significance and enough data" },
    ...others,
  ], rows, { first: `-${by.key}`, caption: "Score and features of the chosen window, by drift", row: (row) => (row === chosen ? { class: "chosen" } : {}) });
}

/** What the model's decisions rest on, where predictions say so. */
function attributions({ attributions: of, attribution_ranking: ranking }, limits) {
  const rows = Object.entries(of ?? {}).map(([name, numbers]) => ({ name, ...numbers }));
  if (!rows.length) return null;
  const changed = ranking && [...(ranking.entered_top ?? []).map((name) => `${name} is among the five largest now`), ...(ranking.left_top ?? []).map((name) => `${name} no longer is`)];
  const column = (name, key) => ({ name, key, numeric: true, value: (row) => row[key], cell: (row) => number(row[key] ?? null) });
  return h("details", { id: "attributions", open: Boolean(changed?.length) }, h("summary", {}, "Attributions: what the predictions rest on"),
    ranking?.rank_correlation !== undefined ? h("p", {}, `Order of the features against the baseline's: rank correlation ${number(ranking.rank_correlation)}. `, changed.join(", ")) : null,
    table("attributions-table", [{ name: "Feature", key: "feature", value: (row) => row.name }, column("Mean |attribution|", "mean_abs"), column("PSI", "psi"), passed((row) => held(row, limits, `attributions.${row.name}`)), column("p", "p_value")],
      rows, { first: "-mean_abs", kind: "compact cards", caption: "Attributions in the chosen window" }));
}

function detail(row, shown, { records, place, record, frame, limits }) {
  const reference = row.name === SCORE ? shown.prediction : shown.features?.[row.name];
  const path = row.name === SCORE ? "prediction" : `data.features.${row.name}`;
  const read = (one) => (row.name === SCORE ? one.prediction : one.data?.features?.[row.name]);
  const times = records.map((one) => one.window_start);
  const charted = ["shift", "mix_shift", "psi", "missing_ratio", "mean", "mean_score"].filter((key) => records.some((one) => read(one)?.[key] !== undefined));
  return h("section", { id: "feature" }, h("h2", {}, label(row.name)),
    h("dl", { class: "facts narrow" }, MEASURES.map((one) => h("div", {}, h("dt", {}, one.name), h("dd", {}, one.cell(row))))),
    h("div", { class: "charts" },
      distribution(row, reference, record, read(records[place - 1] ?? {})),
      reference?.type === "number" ? quantiles(row, reference, records, read, frame) : reference ? shares(reference, records, read, frame) : null),
    h("div", { class: "charts small" }, charted.map((key) => timeChart({
      id: `chart-drift-${key}`, label: title(key), times, frame, includeZero: !key.startsWith("mean"),
      series: [{ name: title(key), values: records.map((one) => read(one)?.[key] ?? null) }], limits: limitLines(limits, `${path}.${key}`), format: (of) => value(key, of),
    }))));
}

function distribution(row, reference, record, before) {
  if (!reference) {
    return h("p", { class: "empty" }, record.compared_with?.source === "learned"
      ? "The learned baseline is not at hand, so that there are no bins to draw. It is in the topic `models`; what `tidegauge replay` writes does not hold it."
      : "No baseline has bins for this feature: it is not in the reference data, or none has been learned yet.");
  }
  const counts = row.bin_counts ?? null;
  const { bins, used } = kept(reference, reference.counts, counts);
  return [
    distributionChart({ id: "chart-distribution", label: `Distribution of ${label(row.name)}: window, the one before, baseline`, bins, current: used(counts), before: used(before?.bin_counts), baseline: used(reference.counts) }),
    counts ? null : h("p", { class: "dim" }, "This record has no counts by bin: segments do not carry them, nor do records of older versions. Shown is the baseline alone."),
  ];
}

/** Names of the bins in which any of the counts has something, and what of a list of counts belongs to them. */
export function kept(reference, ...counted) {
  const names = binNames(reference);
  const places = names.map((_, place) => place).filter((place) => counted.some((counts) => counts?.[place] > 0));
  return { bins: places.map((place) => String(names[place])), used: (counts) => counts && places.map((place) => counts[place] ?? 0) };
}

/** How the values spread over time: the median, the quarter of values on either side of it, and the band that holds nine in ten. */
function quantiles(row, reference, records, read, frame) {
  const of = (probability) => records.map((one) => quantile(read(one)?.bin_counts, reference.edges, probability));
  const median = of(0.5);
  if (median.every((value) => value === null)) return null;
  return timeChart({
    id: "chart-quantiles", label: "Over time: median, quartiles, the middle 90 %", times: records.map((one) => one.window_start), frame,
    series: [{ name: "Median", values: median, low: of(0.05), high: of(0.95) }, { name: "25 %", values: of(0.25), dashed: true }, { name: "75 %", values: of(0.75), dashed: true }],
  });
}

/** The share of each value over time, of those that were commonest in all of it; what is unseen or missing counts as a value. */
function shares(reference, records, read, frame) {
  const counted = records.map((one) => read(one)?.bin_counts ?? null);
  const sums = counted.map((counts) => counts?.reduce((total, count) => total + count, 0));
  const rows = binNames(reference).map((name, place) => ({
    name: String(name), values: counted.map((counts, at) => (sums[at] ? (counts[place] ?? 0) / sums[at] : null)), all: counted.reduce((total, counts) => total + (counts?.[place] ?? 0), 0),
  })).filter(({ all }) => all > 0).sort((a, b) => b.all - a.all);
  if (!rows.length) return null;
  return timeChart({
    id: "chart-shares", label: rows.length > COMMONEST ? `Over time: share of the ${COMMONEST} commonest values` : "Over time: share of each value", times: records.map((one) => one.window_start), frame,
    includeZero: true, format: share, series: rows.slice(0, COMMONEST),
  });
}

/** A quantile of what is counted in bins between edges, as if values were spread evenly in each; what lies beyond the edges counts at the edge. */
export function quantile(counts, edges, probability) {
  if (!counts) return null;
  const [, below, ...rest] = counts;
  const sum = counts.slice(1).reduce((total, count) => total + count, 0);
  if (!sum) return null;
  let left = probability * sum - below;
  if (left <= 0) return edges[0];
  for (let place = 0; place < edges.length - 1; place += 1) {
    if (left <= rest[place]) return edges[place] + (edges[place + 1] - edges[place]) * (left / rest[place]);
    left -= rest[place];
  }
  return edges.at(-1);
}

/** Names of the bins in the order they are counted in. */
export function binNames({ type, edges, own, values, counts }) {
  if (type === "category") return [...values, "(unseen)", "(missing)"];
  const between = Array.from({ length: counts.length - 3 }, (_, place) => {
    const [low, high] = [edges[place], edges[place + 1]];
    if (own[place]) return number(low);
    // What lies between two single values holds neither of them.
    return own[place - 1] && own[place + 1] ? `between ${number(low)} and ${number(high)}` : `${number(low)}–${number(high)}`;
  });
  return ["(missing)", `< ${number(edges[0])}`, ...between, `> ${number(edges.at(-1))}`];
}
