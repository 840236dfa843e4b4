// Alerts: those firing first.

import { get } from "../api.js";
import { status } from "../badges.js";
import { h, sentence } from "../dom.js";
import { number, time } from "../format.js";
import { table } from "../table.js";

export const title = () => "Alerts";
export const concerns = (change) => change.alerts || change.operations;

/** So many alerts are shown, firing ones first, until all are asked for. */
const AT_ONCE = 200;
const SEVERITY = { critical: 3, warning: 2, info: 1 };
const rank = ({ event: { data }, acknowledged, silenced }) => (data.status === "firing" ? 100 : 0) + (SEVERITY[data.severity] ?? 0) * 10 - (acknowledged || silenced ? 5 : 0);

export async function draw({ query, go }) {
  const [model, shown] = [query.get("model") ?? "", query.get("status") ?? ""];
  const all = query.get("show") === "all";
  const [{ alerts, total }, { models }] = await Promise.all([get("alerts", { model, status: shown, limit: all ? null : AT_ONCE }), get("models")]);
  const choose = (id, label, options, chosen) => h("label", { for: `choose-${id}` }, label, h("select", { id: `choose-${id}`, onchange: (event) => {
    event.target.blur();
    go({ [id]: event.target.value });
  } }, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text))));
  return [
    h("h1", {}, "Alerts"),
    h("section", { class: "controls", "aria-label": "Which alerts" },
      choose("status", "Status", [["", "all"], ["firing", "firing"], ["resolved", "resolved"]], shown),
      choose("model", "Model", [["", "all"], ...models.map((one) => [one.model, one.model])], model)),
    list("alerts-table", alerts, { model: true }),
    alerts.length < total ? h("p", {}, h("button", { type: "button", id: "more-alerts", onclick: () => go({ show: "all" }) }, `All ${number(total)} alerts`)) : null,
  ];
}

/** `model`: whether they are of several models. */
export function list(id, alerts, { model }) {
  const labels = ({ event }) => event.data.labels;
  return table(id, [
    { name: "Status", key: "status", value: rank, cell: (one) => status(one.event.data, one) },
    { name: "Alert", key: "alert", wide: true, value: (one) => labels(one).alertname, cell: (one) => [
      h("a", { href: `#/alerts/${one.event.data.fingerprint}`, class: "strong" }, [labels(one).alertname, labels(one).feature ?? labels(one).metric].filter(Boolean).join(" · ")),
      model ? null : h("span", { class: "dim" }, ` ${[labels(one).model_version, labels(one).segment].filter(Boolean).join(", ")}`),
      h("div", { class: "summary" }, sentence(one.event.data.annotations.summary))] },
    ...(model ? [{ name: "Model", key: "model", value: (one) => labels(one).model, cell: (one) => h("a", { href: `#/models/${encodeURIComponent(labels(one).model)}` }, labels(one).model) }] : []),
    ...(model ? [{ name: "Whom", key: "segment", value: (one) => `${labels(one).model_version} ${labels(one).segment}`, cell: (one) => [labels(one).model_version, h("div", { class: "dim" }, labels(one).segment || "whole model")] }] : []),
    { name: "Since", key: "since", value: (one) => one.event.data.starts_at, cell: (one) => time(one.event.data.starts_at) },
    ...(model ? [{ name: "Said at", key: "at", value: (one) => one.event.time, hint: "Event time of the last verdict that changed it", cell: (one) => time(one.event.time) }] : []),
    ...(model ? [{ name: "Value", key: "value", numeric: true, value: (one) => one.event.data.value, cell: (one) => number(one.event.data.value) }] : []),
  ], alerts, { first: "-status", kind: "cards", caption: `${number(alerts.length)} ${alerts.length === 1 ? "alert" : "alerts"}`, empty: "No alerts. Where monitors watch and nothing is wrong, this is how it should be; the page of all models says which concerns are watched.", row: (one) => (one.event.data.status === "firing" ? {} : { class: "past" }) });
}
