// One incident on one page: from the cause to its consequences, the plot of the cause, whom it hits, what to do, what was done.

import { get, part, post } from "../api.js";
import { badge, status } from "../badges.js";
import { h, sentence } from "../dom.js";
import { time } from "../format.js";
import { evidence, playbook, windows } from "./alert.js";
import { state } from "./incidents.js";

export const title = (id) => `Incident ${id.slice(0, 8)}`;
export const concerns = (change) => change.alerts || change.operations;

export async function draw({ names: [id], again }) {
  const [incident, session] = await Promise.all([get(`incidents/${part(id)}`), get("session")]);
  const { data } = incident.event;
  const model = `#/models/${part(data.model)}`;
  const cause = incident.alerts.find((alert) => alert.event.data.fingerprint === data.cause.fingerprint);
  document.title = `${data.title.replaceAll("`", "")} · tidegauge`;
  return [
    h("header", { class: "page" }, h("p", { class: "dim" }, h("a", { href: "#/incidents" }, "Incidents"), " › ", h("a", { href: model }, data.model)),
      h("h1", {}, sentence(data.title)), state(data)),
    facts(data, model),
    actions(incident, session, again),
    timeline(data),
    cause ? await windows(cause.event.data) : null,
    cause ? evidence(cause.event.data, cause.transitions, model) : null,
    playbook(incident.playbook),
    steps(incident.steps),
  ];
}

function facts(data, model) {
  const versions = [...new Set(data.alerts.map((alert) => alert.model_version))];
  const segments = [...new Set(data.alerts.map((alert) => alert.segment).filter(Boolean))];
  const pairs = [
    ["Model", h("a", { href: model }, data.model)],
    ["Versions", versions.join(", ")],
    ["For whom", segments.length ? segments.join(", ") : "the whole model"],
    ["Since", time(data.starts_at)],
    ["Until", data.ends_at ? time(data.ends_at) : "still open"],
    ["Cause", h("a", { href: `#/alerts/${data.cause.fingerprint}` }, [data.cause.alertname, data.cause.feature].filter(Boolean).join(" · "))],
    ["Concerns", data.concerns.join(" → ")],
  ];
  return h("dl", { class: "facts" }, pairs.map(([name, of]) => h("div", {}, h("dt", {}, name), h("dd", {}, of))));
}

/** One click for all of its alerts. */
function actions(incident, session, again) {
  const waiting = incident.alerts.filter((alert) => alert.event.data.status === "firing" && !alert.acknowledged);
  const seen = incident.alerts.filter((alert) => alert.acknowledged);
  const marks = seen.length ? h("p", {}, badge("acknowledged"), ` ${seen.length} of ${incident.alerts.length} alerts, by ${[...new Set(seen.map((alert) => alert.acknowledged.by))].join(", ")}`) : null;
  if (!session.can_change || !waiting.length) return marks && h("section", { class: "actions", "aria-label": "Actions" }, marks);
  const said = h("p", { role: "status", class: "dim" });
  const comment = h("input", { id: "comment", type: "text", placeholder: "why, for the others", maxlength: 500, "aria-label": "Comment" });
  const work = async () => {
    try {
      for (const alert of waiting) await post(`alerts/${part(alert.event.data.fingerprint)}/acknowledge`, { comment: comment.value });
      await again();
    } catch (error) {
      said.textContent = error.message;
      said.className = "trouble";
    }
  };
  return h("section", { class: "actions", "aria-label": "Actions" }, marks, h("div", { class: "row" }, comment,
    h("button", { type: "button", class: "primary", id: "acknowledge-all", onclick: work }, `Acknowledge ${waiting.length === 1 ? "its alert" : `all ${waiting.length} alerts`}`)), said);
}

/** Its alerts, from the cause to the last consequence, each with when it began. */
function timeline(data) {
  return h("section", { id: "timeline" }, h("h2", {}, "From cause to consequence"),
    h("ol", { class: "life" }, data.alerts.map((alert) => h("li", { class: alert.fingerprint === data.cause.fingerprint ? "cause" : null },
      time(alert.starts_at), " ", status(alert), " ", h("span", { class: "dim" }, alert.concern), alert.fingerprint === data.cause.fingerprint ? h("strong", {}, " cause") : null,
      h("div", {}, h("a", { href: `#/alerts/${alert.fingerprint}`, class: "strong" }, [alert.alertname, alert.feature].filter(Boolean).join(" · ")), ` ${alert.model_version} ${alert.segment}`),
      h("div", { class: "summary" }, sentence(alert.summary))))));
}

function steps(told) {
  const words = { opened: "opened", changed: "changed", resolved: "resolved" };
  return h("section", { id: "steps" }, h("h2", {}, "What became of it"), h("p", { class: "dim" }, "The latest change first, at event time."),
    h("ol", { class: "life" }, [...told].reverse().slice(0, 30).map((step) => h("li", {}, time(step.time), ` ${words[step.change]} `, step.status === "open" ? badge(step.severity) : badge("resolved"), h("div", {}, sentence(step.title))))));
}
