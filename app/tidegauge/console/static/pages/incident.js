// One incident on one page: from the cause to its consequences, the plot of the cause, whom it hits, what to do, what was done.

import { get, part } from "../api.js";
import { badge, status } from "../badges.js";
import { h, sentence } from "../dom.js";
import { localTime, number, time } from "../format.js";
import { bar } from "../strip.js";
import { table } from "../table.js";
import { evidence, playbook, windows } from "./alert.js";
import { incidentActions, whatOthersDid } from "./incident_actions.js";
import { state } from "./incidents.js";

const STEPS = 30;

export const title = (id) => `Incident ${id.slice(0, 8)}`;
export const concerns = (change) => change.alerts || change.operations;

export async function draw({ names: [id], again }) {
  const [incident, session] = await Promise.all([get(`incidents/${part(id)}`), get("session")]);
  const { data } = incident.event;
  const model = `#/models/${part(data.model)}`;
  const cause = incident.alerts.find((alert) => alert.event.data.fingerprint === data.cause.fingerprint);
  document.title = `${data.title.replaceAll("`", "")} · tidegauge`;
  return h("div", { class: "incident-page" },
    h("header", { class: "page" }, h("p", { class: "dim" }, h("a", { href: "#/incidents" }, "Incidents"), " › ", h("a", { href: model }, data.model)),
      h("div", { class: "row" }, state(data), h("h1", {}, sentence(data.title)))),
    facts(data, model, incident.others),
    h("div", { class: "read" },
      h("div", {}, timeline(data, incident.alerts), cause ? await windows(cause.event.data) : null, elsewhere(incident.others), cause ? evidence(cause.event.data, cause.transitions, model) : null),
      h("div", { class: "side" }, actions(incident, session, again, model), changed(incident.changes), h("div", { class: "playbook-pane", tabindex: 0, role: "region", "aria-label": "Playbook" }, playbook(incident.playbook)), steps(incident.steps))));
}

function facts(data, model, others) {
  const versions = [...new Set(data.alerts.map((alert) => alert.model_version))];
  const segments = [...new Set(data.alerts.map((alert) => alert.segment).filter(Boolean))];
  const pairs = [
    ["Model", [h("a", { href: model }, data.model), others.length ? h("div", {}, h("a", { href: "#elsewhere", onclick: (event) => {
      event.preventDefault();
      document.getElementById("elsewhere").scrollIntoView();
    } }, `and ${number(others.length)} other ${others.length === 1 ? "model" : "models"}`)) : null]],
    ["Versions", versions.join(", ")],
    ["For whom", segments.length ? segments.join(", ") : "the whole model"],
    ["Since", time(data.starts_at)],
    ["Until", data.ends_at ? time(data.ends_at) : "still open"],
    ["Cause", h("a", { href: `#/alerts/${data.cause.fingerprint}` }, [data.cause.alertname, data.cause.feature].filter(Boolean).join(" · "))],
    ["Concerns", data.concerns.join(" → ")],
    ...(data.carried_by ? [["Drop", h("a", { href: `#/alerts/${data.carried_by.fingerprint}` }, sentence(data.carried_by.text))]] : []),
  ];
  return h("dl", { class: "facts line" }, pairs.map(([name, of]) => h("div", {}, h("dt", {}, name), h("dd", {}, of))));
}

/** One click for all of its alerts, or for the fault in all models that have it; and what others did before. */
function actions(incident, session, again, model) {
  const { data } = incident.event;
  const firing = incident.alerts.filter((alert) => alert.event.data.status === "firing");
  const section = h("section", { class: "actions", "aria-label": "Actions" }, h("h2", {}, "What to do"), whatOthersDid(incident.alerts, incident.notes),
    h("p", {}, h("a", { href: `${model}?tab=versions` }, "Versions, and the way back to an earlier one")));
  if (!session.can_change) {
    section.append(h("p", { class: "dim" }, "This console reads files: nothing can be acknowledged or silenced here."));
    return section;
  }
  const left = (what) => firing.filter((alert) => !alert[what]).length;
  section.append(incidentActions({ id: data.incident, left: { acknowledge: left("acknowledged"), silence: left("silenced") }, models: 1, again }));
  if (incident.others.length) section.append(h("p", { class: "dim" }, `The row of this fault among the incidents acts on all ${number(incident.others.length + 1)} models at once.`));
  return section;
}

/** Its alerts, from the cause to the last consequence, on one axis of time. */
function timeline(data, alerts) {
  const known = new Map(alerts.map((alert) => [alert.event.data.fingerprint, alert.event.data]));
  const lasted = (alert) => {
    const own = known.get(alert.fingerprint);
    const until = (own?.starts_at === alert.starts_at ? own.ends_at : data.ends_at) ?? null;
    return { ...alert, until };
  };
  const rows = data.alerts.map(lasted);
  const said = alerts.map((alert) => Date.parse(alert.event.time));
  const axis = { begin: Date.parse(data.starts_at), end: Math.max(...rows.map((row) => Date.parse(row.until ?? row.starts_at)), ...(data.ends_at ? [] : said)) };
  const words = (row) => `from ${localTime(row.starts_at)} ${row.until ? `to ${localTime(row.until)}` : "until now"}`;
  return h("section", { id: "timeline" }, h("div", { class: "heading" }, h("h2", {}, "From cause to consequence"), h("p", { class: "dim ends" }, time(new Date(axis.begin).toISOString()), h("span", {}, data.ends_at ? time(data.ends_at) : "now"))),
    h("ol", { class: "timeline" }, rows.map((row) => h("li", {},
      h("div", {}, status(row), " ", h("span", { class: "dim" }, row.concern, row.fingerprint === data.cause.fingerprint ? h("strong", {}, " cause") : null), h("div", {}, time(row.starts_at))),
      h("div", {}, h("a", { href: `#/alerts/${row.fingerprint}`, class: "strong" }, [row.alertname, row.feature].filter(Boolean).join(" · ")), ` ${row.model_version} ${row.segment}`,
        h("div", { class: "summary" }, sentence(row.summary))),
      bar(axis, Date.parse(row.starts_at), row.until ? Date.parse(row.until) : axis.end, `${row.severity} ${row.status === "firing" ? "" : "past"}`, `${row.alertname} lasted ${words(row)}`)))));
}

/** The same fault in other models: each with what it led to there. */
function elsewhere(others) {
  if (!others.length) return null;
  return h("section", { id: "elsewhere" }, h("h2", {}, "The same fault in other models"), table("elsewhere-table", [
    { name: "State", key: "state", value: ({ data }) => `${data.status} ${data.severity}`, cell: ({ data }) => state(data) },
    { name: "Model", key: "model", value: ({ data }) => data.model, cell: ({ data }) => h("a", { href: `#/models/${part(data.model)}` }, data.model) },
    { name: "What it did there", key: "title", wide: true, value: ({ data }) => data.title, cell: ({ data }) => [h("a", { href: `#/incidents/${data.incident}`, class: "strong" }, sentence(data.title)), h("div", { class: "dim" }, data.concerns.join(" → "))] },
    { name: "Since", key: "since", value: ({ data }) => data.starts_at, cell: ({ data }) => time(data.starts_at) },
  ], others, { first: "since", kind: "cards", caption: "Their causes share a feature or a source, and began at the same time." }));
}

/** Marks, versions, specs and baselines of that time. */
function changed(changes) {
  return h("section", { id: "changes" }, h("h2", {}, "What changed at that time"),
    changes.length ? h("ul", { class: "life" }, changes.map((one) => h("li", {}, time(one.time), ` ${one.kind}: ${one.text}`, one.by ? h("span", { class: "dim" }, `, by ${one.by}`) : null)))
      : h("p", { class: "dim" }, "No new version, no other spec or baseline, and nobody set a mark (", h("code", {}, "tidegauge mark"), ") within a day of its beginning."));
}

/** What was said of it, the latest first, without what was said again. */
function steps(told) {
  const same = (one, other) => other && one.change === "changed" && one.title === other.title && one.severity === other.severity && one.status === other.status;
  const news = told.filter((step, place) => !same(step, told[place - 1])).reverse();
  return h("section", { id: "steps" }, h("h2", {}, "What became of it"), h("p", { class: "dim" }, "The latest change first, at event time."),
    h("ol", { class: "life" }, news.slice(0, STEPS).map((step) => h("li", {}, time(step.time), ` ${step.change} `, step.status === "open" ? badge(step.severity) : badge("resolved"), h("div", {}, sentence(step.title))))));
}
