// Versions side by side, what a rollout's comparison says, and where each version comes from.

import { get, part } from "../api.js";
import { badge } from "../badges.js";
import { h } from "../dom.js";
import { none, number, share, time, title, value } from "../format.js";
import { marksOf } from "../marks.js";
import { table } from "../table.js";
import { metrics } from "./performance.js";
import { rollback } from "./rollback.js";

const CHANGES = 50;
const VERDICTS = { promote: "ok", "roll back": "critical", rollback: "critical" };

export async function versions({ model, version, window, at, go }) {
  const section = h("section", { id: "versions" }, h("h2", {}, "Versions"));
  const [{ records: comparisons }, session] = await Promise.all([get(`models/${part(model.model)}/comparisons`), get("session")]);
  const known = model.version_details.filter((one) => one.windows.some((of) => of.window === window));
  const sides = await Promise.all(known.slice(0, 6).map(async (one) => {
    const { records } = await get(`models/${part(model.model)}/windows`, { version: one.model_version, window });
    return records.find((record) => record.window_start === at) ?? records.at(-1);
  }));
  const rows = [
    ...["predictions", "labels", "coverage"].map((name) => ({ name: title(name), read: (one) => value(name, one[name] ?? null) })),
    ...metrics(sides, "performance").map((name) => ({ name: title(name), read: (one) => [value(name, one.performance?.[name] ?? null), interval(one.performance_interval?.[name], name)] })),
    { name: "Score PSI", read: (one) => number(one.prediction?.psi ?? null) },
    { name: "Error ratio", read: (one) => share(one.system?.error_ratio) },
    { name: "Latency, 95 %, ms", read: (one) => number(one.system?.latency_ms?.p95 ?? null) },
    ...Object.keys(Object.assign({}, ...sides.map((one) => one.business ?? {}))).map((name) => ({ name: `${title(name)}, mean`, read: (one) => number(one.business?.[name]?.mean ?? null) })),
  ];
  const apart = sides.some((one) => one.window_start !== at);
  const judged = h("div", {}, comparisons.map(verdict), rollback({ model, version, session }), changed(model, window));
  const beside = h("div", { id: "beside" }, h("p", { class: "dim" }, apart ? "Not every version has the chosen window: its newest one is shown instead." : "All in the chosen window."),
    h("div", { class: "scroll", "data-scroll": "versions", tabindex: 0, role: "region", "aria-label": "Versions side by side" }, h("table", { id: "versions-table", class: "compact" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, ""), sides.map((one) => h("th", { scope: "col", class: "number" },
        h("button", { type: "button", class: "link", onclick: () => go({ version: one.model_version }) }, one.model_version), one.model_version === version ? " (shown)" : "", h("div", { class: "dim" }, time(one.window_start)))))),
      h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row.name), sides.map((one) => h("td", { class: "number" }, row.read(one)))))))));
  section.append(h("div", { class: "halves" }, judged, beside));
  return section;
}

/** What plots mark with dotted lines, in words: the latest first. */
function changed(model, window) {
  const marks = marksOf(model, window, []).sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  return h("section", { id: "what-changed" }, h("h3", {}, "What changed"), marks.length
    ? h("ol", { class: "life" }, marks.slice(0, CHANGES).map(({ at, name, by }) => h("li", {}, time(at), ` ${name}`, by ? h("span", { class: "dim" }, `, by ${by}`) : null)))
    : h("p", { class: "dim" }, "No version but the first, no change of spec or baseline, no mark."));
}

function interval(of, name) {
  return of ? h("div", { class: "dim nowrap" }, `${value(name, of[0])} to ${value(name, of[1])}`) : null;
}

/** One comparison of a challenger with its champion, whatever numbers it carries. */
function verdict(record) {
  const rows = Object.entries(record.metrics ?? {}).map(([name, of]) => ({ name, of }));
  const side = (of) => (typeof of === "number" ? number(of) : none);
  return h("div", { class: "verdict" },
    h("h3", {}, `${record.monitor}: ${record.model_version} against ${record.champion}: `, badge(VERDICTS[record.verdict] ?? "info", record.verdict)),
    h("p", {}, `${record.reason}.`, h("span", { class: "dim" }, ` ${record.windows ?? ""} windows since `, time(record.since), record.role ? `, role ${record.role}` : "", ".")),
    rows.length ? table(`comparison-${record.model_version}-${record.champion}-${record.monitor}`, [
      { name: "Metric", key: "metric", value: (row) => row.name, cell: (row) => h("span", { title: row.name }, spelled(row.name)) },
      { name: "Says", key: "judgement", value: (row) => row.of.judgement, cell: (row) => says(row.of.judgement), hint: "By more than the margin, at the comparison's level however often it is looked at" },
      { name: "Champion", key: "champion", numeric: true, value: (row) => row.of.champion, cell: (row) => side(row.of.champion) },
      { name: "Challenger", key: "challenger", numeric: true, value: (row) => row.of.challenger, cell: (row) => side(row.of.challenger) },
      { name: "Difference", key: "difference", numeric: true, value: (row) => row.of.difference, cell: (row) => [side(row.of.difference), Array.isArray(row.of.interval) ? h("div", { class: "dim nowrap" }, `${number(row.of.interval[0])} to ${number(row.of.interval[1])}`) : null] },
      { name: "Margin", key: "margin", numeric: true, value: (row) => row.of.margin, cell: (row) => side(row.of.margin) },
    ], rows, { kind: "compact cards", caption: `Compared over ${record.windows ?? "its"} windows; the interval may be looked at any time` }) : null);
}

const JUDGED = { worse: "critical", better: "ok", "not worse": "ok" };
const says = (said) => (said ? badge(JUDGED[said] ?? "unwatched", said === "open" ? "not known yet" : said) : none);

/** "system.latency_ms.mean" → "Latency ms, mean"; "performance.roc_auc" → "ROC AUC". */
function spelled(path) {
  const [first, ...rest] = path.split(".").slice(1);
  return first === undefined ? path : [title(first), ...rest].join(", ");
}

/** The run that trained a version, linked to where people see it. */
export function runLink({ run_id: run, url }) {
  if (!run) return none;
  return /^https?:\/\//.test(url ?? "") ? h("a", { href: url, rel: "noreferrer" }, run) : h("code", {}, run);
}

export function lineage({ model }) {
  const { lineage: of, baselines, spec } = model;
  const pairs = Object.entries(of).filter(([, text]) => text);
  return h("section", { id: "lineage" }, h("h2", {}, "Lineage"),
    pairs.length ? h("dl", {}, pairs.map(([name, text]) => [h("dt", {}, title(name)), h("dd", {}, h("code", {}, typeof text === "string" ? text : JSON.stringify(text)))]))
      : h("p", { class: "empty" }, "The spec says nothing of where the model comes from. Add ", h("code", {}, "lineage: {run_id: …, commit: …, data_snapshot: …}"), "."),
    table("baselines", [
      { name: "Baseline of", key: "version", value: (one) => one.model_version },
      { name: "Run", key: "run", value: (one) => one.lineage?.run_id ?? none, cell: (one) => runLink(one.lineage ?? {}) },
      { name: "From", key: "source", value: (one) => one.source ?? none },
      { name: "Predictions", key: "predictions", numeric: true, value: (one) => one.predictions, cell: (one) => number(one.predictions ?? null) },
      { name: "Labels", key: "labels", numeric: true, value: (one) => one.labels, cell: (one) => number(one.labels ?? null) },
    ], baselines, { kind: "compact cards", caption: "Baselines", empty: "No baseline yet: it is learned from the first predictions, or built with `tidegauge baseline build`." }),
    h("details", { id: "spec" }, h("summary", {}, "The spec, and the monitors that watch"), h("pre", {}, JSON.stringify(spec, null, 2)),
      h("p", {}, model.default_monitors ? "The spec names no monitors: these are the defaults." : "Monitors of the spec:"),
      h("pre", {}, JSON.stringify(model.monitors, null, 2))));
}
