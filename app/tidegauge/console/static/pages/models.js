// All models: how each is doing by the four concerns, what fires, coverage, label delay, the last event.

import { get } from "../api.js";
import { badge, concern } from "../badges.js";
import { h } from "../dom.js";
import { none, number, share, span, time, timeAgo } from "../format.js";
import { table } from "../table.js";
import { list as incidentList } from "./incidents.js";

export const title = () => "Models";
export const concerns = (change) => change.models.length > 0 || change.alerts;

const RANK = { critical: 3, warning: 2, info: 1, ok: 0, unwatched: -1 };
export const address = (model) => `#/models/${encodeURIComponent(model)}`;

export async function draw() {
  const [{ models }, { incidents }] = await Promise.all([get("models"), get("incidents", { status: "open" })]);
  if (!models.length) return [h("h1", {}, "Models"), nothing()];
  return [
    incidents.length ? h("section", { id: "open-incidents" }, h("h2", {}, "Open incidents"), incidentList("open-incidents-table", incidents)) : null,
    h("h1", {}, "Models"),
    table("models", columns(), models, { first: "-firing", kind: "cards", caption: "All models" }),
  ];
}

function nothing() {
  return h("section", { class: "empty" }, h("p", {}, "No model has been seen yet."),
    h("p", {}, "A model appears here once its spec is published or the first of its windows has closed:"),
    h("ul", {},
      h("li", {}, h("code", {}, "tidegauge models apply DIR"), " publishes specs,"),
      h("li", {}, h("code", {}, "tidegauge worker"), " has to run,"),
      h("li", {}, "and services have to send predictions. The page ", h("a", { href: "#/stream" }, "Stream"), " says whether anything arrives.")));
}

function columns() {
  const health = ["data", "model", "system", "business"].map((name) => ({
    name: name.charAt(0).toUpperCase() + name.slice(1), key: name,
    value: (row) => RANK[row.health[name].state] * 1000 + row.health[name].firing, numeric: false,
    cell: (row) => (row.health[name].firing ? h("a", { href: `#/alerts?model=${encodeURIComponent(row.model)}` }, concern(row.health[name])) : concern(row.health[name])),
  }));
  return [
    {
      name: "Model", key: "model", value: (row) => row.model,
      cell: (row) => [h("a", { href: address(row.model), class: "strong" }, row.model), h("div", { class: "dim" },
        [row.task ?? "task not known yet", row.specified ? "" : "no spec", row.versions.length ? `${row.versions.length} version${row.versions.length > 1 ? "s" : ""}` : ""].filter(Boolean).join(" · ")),
      row.problem ? h("div", { class: "trouble" }, row.problem) : null],
    },
    ...health,
    {
      name: "Firing", key: "firing", value: (row) => row.firing.critical * 1e6 + row.firing.warning * 1e3 + row.firing.info,
      cell: (row) => {
        const marks = Object.entries(row.firing).filter(([, count]) => count);
        if (!marks.length) return badge("ok", "none");
        return h("a", { href: `#/alerts?model=${encodeURIComponent(row.model)}` }, marks.map(([severity, count]) => [badge(severity, `${count} ${severity}`), " "]));
      },
    },
    {
      name: "Coverage", key: "coverage", numeric: true, hint: "Share of the newest long window's predictions that have their label, and the share expected by now",
      value: (row) => row.newest?.coverage,
      cell: (row) => [share(row.newest?.coverage), row.newest?.expected_coverage !== undefined ? h("div", { class: "dim" }, `expected ${share(row.newest.expected_coverage)}`) : null],
    },
    {
      name: "Label delay", key: "delay", numeric: true, hint: "Half of the labels, and 95 % of them, come within",
      value: (row) => row.newest?.label_delay_seconds?.p50,
      cell: (row) => (row.newest?.label_delay_seconds ? [span(row.newest.label_delay_seconds.p50), h("div", { class: "dim" }, `95 %: ${span(row.newest.label_delay_seconds.p95)}`)] : none),
    },
    {
      name: "Newest window", key: "window", value: (row) => row.newest?.window_start,
      cell: (row) => (row.newest ? [time(row.newest.window_start), h("div", { class: "dim" }, `${row.newest.window}, ${number(row.newest.predictions)} predictions`)] : "none yet"),
    },
    { name: "Last event", key: "last", value: (row) => row.last_event, cell: (row) => (row.last_event ? timeAgo(row.last_event) : none) },
  ];
}
