// Features × time: which went beyond its limits, when, and by how much. Sorted, searched, and a way to each feature.

import { get, part } from "../api.js";
import { h } from "../dom.js";
import { localTime, none, number, share, time, title, utcTime } from "../format.js";
import { strip } from "../strip.js";
import { table } from "../table.js";

/** So many features are shown until all are asked for. */
export const AT_ONCE = 40;
const MEASURES = [["limits", "times its limit"], ["shift", "shift"], ["psi", "PSI"], ["missing_ratio", "missing"], ["type_mismatch_ratio", "wrong type"], ["odd_ratio", "unseen or out of range"]];
const worst = ({ values }) => Math.max(...values.map((value) => value ?? -1));

/** The features of the plots' windows; `most` rows, and `more` to see all of them. */
export async function heatmap({ model, version, window, segment, records, record, query, go }, { most = AT_ONCE, more = null } = {}) {
  const asked = more ? "limits" : query.get("measure") ?? "limits";
  const ask = (measure) => get(`models/${part(model.model)}/features`, { version, window, segment, from: records[0].window_start, limit: records.length, measure });
  let told = await ask(asked);
  const plain = asked === "limits" && !told.watched;
  if (plain) told = await ask("shift");
  const wanted = (more ? "" : query.get("find") ?? "").toLowerCase();
  const features = told.features.filter(({ feature }) => feature.toLowerCase().includes(wanted));
  const ranked = [...features].sort((a, b) => worst(b) - worst(a));
  const shown = ranked.slice(0, query.get("features") === "all" && !more ? ranked.length : most);
  const beyond = features.filter(({ since }) => since);
  const first = [...beyond].sort((a, b) => Date.parse(a.since) - Date.parse(b.since))[0];
  const section = h("section", { id: "heatmap" }, h("div", { class: "heading" }, h("h2", {}, "Features over time"),
    !told.features.length ? null : first ? h("p", {}, h("strong", {}, first.feature), ` went beyond its limit first, by its ${title(first.why).toLowerCase()}, in the window from `, time(first.since), `; ${number(beyond.length)} of ${number(features.length)} features did in this range.`)
      : h("p", { class: "dim" }, told.watched ? "No feature went beyond its limit in this range." : "No monitor holds a feature to a limit: shown is the shift."),
    more ? null : tools(plain ? "shift" : asked, query, go)));
  section.append(table("heatmap-table", [
    { name: "Feature", key: "feature", value: (row) => row.feature, cell: (row) => h("button", { type: "button", class: "link", id: `heat-${row.feature}`, onclick: () => go({ tab: "drift", feature: row.feature, at: row.since ?? record.window_start }) }, row.feature) },
    { name: "Over time", key: "over-time", wide: true, value: worst, cell: (row) => cells(row, told) },
    { name: "Worst", key: "worst", numeric: true, value: worst, cell: (row) => (worst(row) < 0 ? none : [spelled(worst(row), told.measure), told.measure === "limits" && row.furthest !== row.why ? h("div", { class: "dim" }, title(row.furthest)) : null]) },
    { name: "Beyond its limit since", key: "since", value: (row) => row.since, cell: (row) => (row.since ? [time(row.since), " ", h("div", { class: "dim" }, title(row.why))] : "never") },
  ], shown, { first: "-worst", kind: "heat cards", caption: [`${number(ranked.length)} features, windows from `, time(records[0].window_start), " to ", time(records.at(-1).window_start), ": ", scale(told.measure)], empty: wanted ? "No feature has such a name." : "The predictions of these windows carry no features." }));
  if (shown.length < ranked.length) section.append(h("p", {}, h("button", { type: "button", id: "more-features", onclick: more ?? (() => go({ features: "all" })) }, `All ${number(ranked.length)} features`)));
  return section;
}

function tools(measure, query, go) {
  const field = h("input", { id: "find-feature", type: "search", value: query.get("find") ?? "", placeholder: "name of a feature", onchange: () => go({ find: field.value }) });
  return h("div", { class: "row" }, h("label", { for: "find-feature" }, "Find ", field),
    h("label", { for: "choose-measure" }, "Shown ", h("select", { id: "choose-measure", onchange: (event) => {
      event.target.blur();
      go({ measure: event.target.value });
    } }, MEASURES.map(([name, text]) => h("option", { value: name, selected: name === measure }, text)))));
}

function cells({ feature, values, since }, { windows, measure, features }) {
  const top = measure === "limits" ? 1 : Math.max(...features.map(worst), 1e-9) / 2;
  const words = since ? `beyond its limit since ${localTime(since)}` : "never beyond its limit";
  return strip(values.map((value) => heat(value, top)), `${feature}: ${words}, worst ${spelled(worst({ values }), measure)}`,
    { height: 20, hint: (place) => `${feature}, ${localTime(windows[place])} (${utcTime(windows[place])}): ${values[place] === null ? "no value" : spelled(values[place], measure)}` });
}

/** Five steps of which the upper two are beyond the limit. */
function heat(value, top) {
  if (value === null) return null;
  const place = [0.25, 0.6, 1, 2].findIndex((edge) => value <= edge * top);
  return `heat-${place < 0 ? 4 : place}`;
}

const spelled = (value, measure) => (measure === "limits" ? `${number(value)} ×` : measure.endsWith("ratio") ? share(value) : number(value));

function scale(measure) {
  const steps = measure === "limits" ? ["far within", "within", "near", "beyond its limit", "more than twice"] : ["least", "", "", "", "most"];
  return h("span", { class: "scale" }, steps.map((text, place) => [h("span", { class: `swatch heat-${place}` }), ` ${text} `]));
}
