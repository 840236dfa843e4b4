// Incidents: what is broken, since when, for whom; open ones first.

import { get } from "../api.js";
import { badge } from "../badges.js";
import { h, sentence } from "../dom.js";
import { number, time } from "../format.js";
import { table } from "../table.js";
import { rowActions } from "./incident_actions.js";

export const title = () => "Incidents";
export const concerns = (change) => change.alerts || change.operations;

/** So many incidents are shown, open ones first, until all are asked for. */
const AT_ONCE = 200;
const SEVERITY = { critical: 3, warning: 2, info: 1 };

export async function draw({ query, go, again }) {
  const [model, shown] = [query.get("model") ?? "", query.get("status") ?? ""];
  const all = query.get("show") === "all";
  const [{ incidents, total, together, attention }, { models }, session] = await Promise.all([get("incidents", { model, status: shown, limit: all ? null : AT_ONCE }), get("models"), get("session")]);
  const choose = (id, label, options, chosen) => h("label", { for: `choose-${id}` }, label, h("select", { id: `choose-${id}`, onchange: (event) => {
    event.target.blur();
    go({ [id]: event.target.value });
  } }, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text))));
  return [
    h("h1", {}, "Incidents"),
    h("section", { class: "controls", "aria-label": "Which incidents" },
      choose("status", "Status", [["", "all"], ["open", "open"], ["resolved", "resolved"]], shown),
      choose("model", "Model", [["", "all"], ...models.map((one) => [one.model, one.model])], model)),
    list("incidents-table", merged(incidents, together), { acts: { attention, ...session, again } }),
    incidents.length < total ? h("p", {}, h("button", { type: "button", id: "more-incidents", onclick: () => go({ show: "all" }) }, `All ${number(total)} incidents`)) : null,
  ];
}

export const state = (data) => (data.status === "open" ? badge(data.severity) : badge("resolved", data.resolution === "restated" ? "restated away" : "resolved"));

/** One row a fault: incidents of several models that are one (`together`) are one row, that of the earliest, with all of them as `members`. */
export function merged(incidents, together) {
  const groups = new Map(together.flatMap((group) => group.incidents.map((id) => [id, group])));
  const rows = new Map();
  for (const one of incidents) {
    const group = groups.get(one.data.incident) ?? one;
    rows.set(group, [...(rows.get(group) ?? []), one]);
  }
  return [...rows.values()].map((members) => {
    const first = members.reduce((a, b) => (Date.parse(b.data.starts_at) < Date.parse(a.data.starts_at) ? b : a));
    const worst = members.reduce((a, b) => (rank(b) > rank(a) ? b : a)).data;
    const until = members.some(({ data }) => data.status === "open") ? null : members.map(({ data }) => data.ends_at).sort().at(-1);
    return { ...first, data: { ...first.data, status: worst.status, severity: worst.severity, ends_at: until, alerts: members.flatMap(({ data }) => data.alerts) }, members };
  });
}

const rank = ({ data }) => (data.status === "open" ? 10 : 0) + (SEVERITY[data.severity] ?? 0);
const MODELS = 3;

/** The models that an incident hits, and of a single one its versions. */
function whom({ data, members }) {
  const link = (model) => h("a", { href: `#/models/${encodeURIComponent(model)}` }, model);
  if (members.length === 1) return [link(data.model), h("div", { class: "dim" }, versions(data))];
  const models = members.map((one) => one.data.model);
  return [models.slice(0, MODELS).map((model, place) => [place ? ", " : "", link(model)]), models.length > MODELS ? ` and ${number(models.length - MODELS)} more` : "",
    h("div", { class: "dim" }, `one fault in ${number(models.length)} models`)];
}

const versions = (data) => [...new Set(data.alerts.map((alert) => alert.model_version))].join(", ");

/**
 * `incidents`: as `merged` makes them; `open`: all of them are; `model`: whether they are of several models; `acts`: what people did about them, whether
 * this one may, and how the page is drawn anew.
 */
export function list(id, incidents, { open = false, model = true, acts = null } = {}) {
  const firing = ({ data }) => data.alerts.filter((alert) => alert.status === "firing").length;
  return table(id, [
    { name: "State", key: "state", value: rank, cell: ({ data }) => state(data) },
    { name: "What is broken", key: "title", wide: true, value: ({ data }) => data.title, cell: ({ data, members }) => [
      h("a", { href: `#/incidents/${data.incident}`, class: "strong" }, sentence(data.title)), h("div", { class: "dim" }, [data.concerns.join(" → "), model ? "" : versions(data)].filter(Boolean).join(" · ")),
      acts && data.status === "open" ? rowActions({ data, members }, acts.attention, acts) : null] },
    ...(model ? [{ name: "For whom", key: "model", value: ({ data }) => data.model, cell: whom }] : []),
    { name: "Since", key: "since", value: ({ data }) => data.starts_at, cell: ({ data }) => time(data.starts_at) },
    ...(open ? [] : [{ name: "Until", key: "until", value: ({ data }) => data.ends_at ?? "", cell: ({ data }) => (data.ends_at ? time(data.ends_at) : "open") }]),
    { name: "Alerts", key: "alerts", numeric: true, value: ({ data }) => data.alerts.length, hint: "Of them still firing", cell: (one) => [number(one.data.alerts.length), h("div", { class: "dim" }, `${number(firing(one))} firing`)] },
  ], incidents, { first: "-state", kind: "cards", caption: `${number(incidents.length)} ${incidents.length === 1 ? "incident" : "incidents"}`, empty: "No incidents. Where monitors watch and nothing is wrong, this is how it should be.", row: ({ data }) => (data.status === "open" ? {} : { class: "past" }) });
}
