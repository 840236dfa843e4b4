// All models: what is broken first, then how each has been doing: the four concerns, coverage, the main metric, traffic.

import { get } from "../api.js";
import { badge, concern } from "../badges.js";
import { h } from "../dom.js";
import { ago, none, number, share, time, title as named, value } from "../format.js";
import { sparkline, strip } from "../strip.js";
import { table } from "../table.js";
import { list as incidentList, merged } from "./incidents.js";

export const title = () => "Models";
export const concerns = (change) => change.models.length > 0 || change.alerts;

const RANK = { critical: 3, warning: 2, info: 1, ok: 0, unwatched: -1 };
export const address = (model) => `#/models/${encodeURIComponent(model)}`;

const INCIDENTS = 6;

export async function draw({ query, go, again }) {
  const [{ models }, { incidents: told, together, attention }, { models: histories }, session] = await Promise.all([get("models"), get("incidents", { status: "open" }), get("fleet"), get("session")]);
  const incidents = merged(told, together);
  if (!models.length) return [h("h1", {}, "Models"), nothing()];
  const over = new Map(histories.map((one) => [one.model, one]));
  const [wanted, state] = [(query.get("find") ?? "").toLowerCase(), query.get("state") ?? ""];
  const shown = models.filter((one) => one.model.toLowerCase().includes(wanted) && (!state || broken(one) === (state === "firing")));
  return [
    h("h1", {}, headline(models, incidents)),
    incidents.length ? h("section", { id: "open-incidents" }, incidentList("open-incidents-table", incidents.slice(0, INCIDENTS), { open: true, acts: { attention, ...session, again } }),
      incidents.length > INCIDENTS ? h("p", {}, h("a", { href: "#/incidents?status=open" }, `All ${number(incidents.length)} open incidents`)) : null) : null,
    h("div", { class: "row spread" }, h("h2", {}, "Models"), filter(query, go)),
    table("models", columns(over), shown, { first: "-firing", kind: "cards fleet", caption: shown.length === models.length ? "All models, each over its newest windows" : `${number(shown.length)} of ${number(models.length)} models`, empty: "No model is like that: change what you look for above." }),
  ];
}

function headline(models, incidents) {
  const hit = new Set(incidents.flatMap(({ members }) => members.map(({ data }) => data.model))).size;
  if (incidents.length) return `${number(incidents.length)} open ${incidents.length === 1 ? "incident" : "incidents"}${models.length > 1 ? `, in ${number(hit)} of ${number(models.length)} models` : ""}`;
  return `No open incident in ${models.length === 1 ? "the one model" : `${number(models.length)} models`}`;
}

const broken = (model) => Object.values(model.firing).some(Boolean);

function filter(query, go) {
  const field = h("input", { id: "find-model", type: "search", value: query.get("find") ?? "", placeholder: "name of a model", onchange: () => go({ find: field.value }) });
  const state = query.get("state") ?? "";
  return h("div", { class: "row" }, h("label", { for: "find-model" }, "Find ", field),
    h("label", { for: "choose-state" }, "Show ", h("select", { id: "choose-state", onchange: (event) => {
      event.target.blur();
      go({ state: event.target.value });
    } }, [["", "all"], ["firing", "with alerts"], ["fine", "without alerts"]].map(([value, text]) => h("option", { value, selected: value === state }, text)))));
}

function nothing() {
  return h("section", { class: "empty" }, h("p", {}, "No model has been seen yet."),
    h("p", {}, "A model appears here once its spec is published or the first of its windows has closed:"),
    h("ul", {},
      h("li", {}, h("code", {}, "tidegauge models apply DIR"), " publishes specs,"),
      h("li", {}, h("code", {}, "tidegauge worker"), " has to run,"),
      h("li", {}, "and services have to send predictions. The page ", h("a", { href: "#/stream" }, "Stream"), " says whether anything arrives.")));
}

/** A concern's severity over the newest windows. */
function strips({ windows, health }, name) {
  if (!windows.length) return null;
  const bad = health[name].filter(Boolean).length;
  return strip(health[name], `${name}: something wrong in ${bad} of the newest ${windows.length} windows`, { kind: "health" });
}

const spark = (values, label, options) => (values ? sparkline(values, label, options) : null);

function columns(over) {
  const of = (row) => over.get(row.model) ?? { windows: [] };
  const last = (values) => values?.findLast((value) => typeof value === "number");
  const health = ["data", "model", "system", "business"].map((name) => ({
    name: name.charAt(0).toUpperCase() + name.slice(1), key: `health-${name}`, hint: "Now, and over the newest windows",
    value: (row) => RANK[row.health[name].state] * 1000 + row.health[name].firing, numeric: false,
    cell: (row) => [row.health[name].firing ? h("a", { href: `#/alerts?model=${encodeURIComponent(row.model)}` }, badge(row.health[name].state)) : concern(row.health[name]), strips(of(row), name)],
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
      name: "Coverage", key: "coverage", numeric: true, hint: "Share of the newest long window's predictions that have their label, and over the newest windows",
      value: (row) => row.newest?.coverage,
      cell: (row) => [share(row.newest?.coverage), spark(of(row).coverage, "Coverage over the newest windows", { zero: true })],
    },
    {
      name: "Main metric", key: "metric", numeric: true, hint: "In the newest window that has it, and over the newest windows", value: (row) => last(of(row).metric?.values),
      cell: (row) => (of(row).metric ? [`${named(of(row).metric.name)} ${value(of(row).metric.name, last(of(row).metric.values))}`, spark(of(row).metric.values, `${named(of(row).metric.name)} over the newest windows`)] : none),
    },
    {
      name: "Traffic", key: "traffic", numeric: true, hint: "Predictions of the newest window, and over the newest windows", value: (row) => row.newest?.predictions,
      cell: (row) => [number(row.newest?.predictions ?? null), spark(of(row).predictions, "Predictions over the newest windows", { zero: true })],
    },
    {
      name: "Newest window", key: "window", value: (row) => row.newest?.window_start,
      cell: (row) => (row.newest ? [time(row.newest.window_start), h("div", { class: "dim" }, row.newest.window, row.last_event ? `, last event ${ago(row.last_event)}` : "")] : "none yet"),
    },
  ];
}
