// Incidents: what is broken, since when, for whom; open ones first.

import { get } from "../api.js";
import { badge } from "../badges.js";
import { h, sentence } from "../dom.js";
import { number, time } from "../format.js";
import { table } from "../table.js";

export const title = () => "Incidents";
export const concerns = (change) => change.alerts || change.operations;

const SEVERITY = { critical: 3, warning: 2, info: 1 };

export async function draw({ query, go }) {
  const [model, shown] = [query.get("model") ?? "", query.get("status") ?? ""];
  const [{ incidents }, { models }] = await Promise.all([get("incidents", { model, status: shown }), get("models")]);
  const choose = (id, label, options, chosen) => h("label", { for: `choose-${id}` }, label, h("select", { id: `choose-${id}`, onchange: (event) => {
    event.target.blur();
    go({ [id]: event.target.value });
  } }, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text))));
  return [
    h("h1", {}, "Incidents"),
    h("section", { class: "controls", "aria-label": "Which incidents" },
      choose("status", "Status", [["", "all"], ["open", "open"], ["resolved", "resolved"]], shown),
      choose("model", "Model", [["", "all"], ...models.map((one) => [one.model, one.model])], model)),
    list("incidents-table", incidents),
  ];
}

export const state = (data) => (data.status === "open" ? badge(data.severity) : badge("resolved", data.resolution === "restated" ? "restated away" : "resolved"));

/** `open`: all of them are. */
export function list(id, incidents, { open = false } = {}) {
  const versions = ({ data }) => [...new Set(data.alerts.map((alert) => alert.model_version))].join(", ");
  const firing = ({ data }) => data.alerts.filter((alert) => alert.status === "firing").length;
  return table(id, [
    { name: "State", key: "state", value: ({ data }) => (data.status === "open" ? 10 : 0) + (SEVERITY[data.severity] ?? 0), cell: ({ data }) => state(data) },
    { name: "What is broken", key: "title", wide: true, value: ({ data }) => data.title, cell: ({ data }) => [
      h("a", { href: `#/incidents/${data.incident}`, class: "strong" }, sentence(data.title)), h("div", { class: "dim" }, data.concerns.join(" → "))] },
    { name: "For whom", key: "model", value: ({ data }) => data.model, cell: (one) => [h("a", { href: `#/models/${encodeURIComponent(one.data.model)}` }, one.data.model), h("div", { class: "dim" }, versions(one))] },
    { name: "Since", key: "since", value: ({ data }) => data.starts_at, cell: ({ data }) => time(data.starts_at) },
    ...(open ? [] : [{ name: "Until", key: "until", value: ({ data }) => data.ends_at ?? "", cell: ({ data }) => (data.ends_at ? time(data.ends_at) : "open") }]),
    { name: "Alerts", key: "alerts", numeric: true, value: ({ data }) => data.alerts.length, hint: "Of them still firing", cell: (one) => [number(one.data.alerts.length), h("div", { class: "dim" }, `${number(firing(one))} firing`)] },
  ], incidents, { first: "-state", kind: "cards", caption: `${number(incidents.length)} ${incidents.length === 1 ? "incident" : "incidents"}`, empty: "No incidents. Where monitors watch and nothing is wrong, this is how it should be.", row: ({ data }) => (data.status === "open" ? {} : { class: "past" }) });
}
