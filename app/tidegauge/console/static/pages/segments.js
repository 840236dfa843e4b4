// Whom a change concerns: every segment of the chosen window, and the gaps between them.

import { get, part } from "../api.js";
import { h } from "../dom.js";
import { none, number, share, time, title, value } from "../format.js";
import { table } from "../table.js";
import { fairness } from "./fairness.js";
import { metrics } from "./performance.js";

export async function segments(seen) {
  const { model, version, window, at, record, go } = seen;
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
  ], all, { first: worst(names[0]), kind: "cards", caption: ["All segments in the window from ", time(at)], empty: "No segment has a record of this window: click a plot to choose another.", row: (one) => (key(one) === key(record) ? { class: "chosen" } : {}) }));
  section.append(...[await fairness(seen, all)].flat());
  return section;
}

const LOWER_IS_BETTER = /^(brier|log_loss|ece|rmse|mae|mape|bias)$/;
/** Sorted so that the segment served worst is first; by size where nothing is known of that. */
const worst = (name) => (name ? `${LOWER_IS_BETTER.test(name) ? "-" : ""}${name}` : "-predictions");

const key = (record) => Object.entries(record.segment).map(([name, of]) => `${name}=${of}`).join(",");
const label = (record) => key(record) || "whole model";

function interval(record, name) {
  const of = record.performance_interval?.[name];
  return of ? h("div", { class: "dim nowrap" }, `${value(name, of[0])} to ${value(name, of[1])}`) : null;
}
