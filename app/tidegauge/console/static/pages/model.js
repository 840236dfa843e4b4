// One model: what is known of the chosen version, window length and segment, section by section.

import { get, part } from "../api.js";
import { concern } from "../badges.js";
import { h } from "../dom.js";
import { number, time, timeAgo } from "../format.js";
import { list } from "./alerts.js";
import { drift } from "./drift.js";
import { business, system } from "./operation.js";
import { labels, performance, restatements } from "./performance.js";
import { segments } from "./segments.js";
import { lineage, versions } from "./versions.js";

export const title = (name) => name;
export const concerns = (change, [name]) => change.many || change.models.includes(name) || change.operations;

const RANGES = { 30: "30 windows", 100: "100 windows", 400: "400 windows", 5000: "all windows" };
const SECTIONS = { alerts: "Alerts", performance: "Performance", restatements: "Restatements", drift: "Drift", segments: "Segments", system: "System", business: "Business", versions: "Versions", lineage: "Lineage" };

export async function draw({ names: [name], query, go }) {
  const [model, { alerts }] = await Promise.all([get(`models/${part(name)}`), get("alerts", { model: name })]);
  const version = query.get("version") ?? model.newest?.model_version ?? model.versions[0];
  const details = model.version_details.find((one) => one.model_version === version);
  if (!version || !details) {
    return [head(model), h("p", { class: "empty" }, version ? `No windows of version ${version} are held. ` : "No window of this model has closed yet. Once one has, its numbers appear here. ",
      h("a", { href: `#/models/${part(name)}` }, "Show the newest version"), " or see whether events arrive on the page ", h("a", { href: "#/stream" }, "Stream"), "."), lineage({ model })];
  }
  const lengths = details.windows.map((one) => one.window);
  const window = query.get("window") ?? (model.newest?.model_version === version ? model.newest.window : lengths.at(-1));
  const segment = query.get("segment") ?? "";
  const last = query.get("last") ?? "100";
  const [{ records, left_off: older }, { limits }] = await Promise.all([
    get(`models/${part(name)}/windows`, { version, window, segment, limit: last }),
    get(`models/${part(name)}/limits`, { version, window }),
  ]);
  const found = records.findIndex((record) => record.window_start === query.get("at"));
  const place = found < 0 ? records.length - 1 : found;
  const record = records[place];
  const dropped = segment ? 0 : (details.windows.find((one) => one.window === window)?.dropped ?? 0);
  const seen = { model, version, window, segment, records, limits, place, record, at: record.window_start, query, go, pick: (index) => go({ at: records[index].window_start }) };
  const firing = alerts.filter((one) => one.event.data.status === "firing");
  return [
    head(model),
    h("nav", { class: "sections", "aria-label": "Sections" }, Object.entries(SECTIONS).map(([id, text]) => jump(id, id === "alerts" && firing.length ? `${text} (${firing.length})` : text))),
    controls(seen, lengths, last, older, dropped), misread(record.prediction), notComputed(record),
    alertsOf(firing, alerts.filter((one) => one.event.data.status !== "firing")),
    performance(seen), labels(seen),
    await restatements(seen),
    await drift(seen),
    await segments(seen),
    system(seen), business(seen),
    await versions(seen),
    lineage(seen),
  ];
}

/** That the confidence is the predicted class's, where the events show it and the spec does not say so. */
function misread(prediction) {
  return prediction?.misread_confidence ? h("p", { class: "trouble" }, `All ${number(prediction.misread_confidence)} negative predictions of this window have a confidence above one half: it is the predicted class's. `,
    prediction.confidence_is ? "The numbers here read it so. " : "The numbers here read it as the positive class's. ", "Write ", h("code", {}, "confidence_is: predicted"), " in the spec.") : null;
}

/** Numbers that a fault of ours keeps from being computed. */
function notComputed(record) {
  const failed = Object.entries(record.not_computed ?? {});
  return failed.length ? h("p", { class: "trouble" }, "Of this window could not be computed: ", failed.map(([name, error]) => `${name} (${error})`).join("; "), ". The other numbers stand.") : null;
}

function alertsOf(firing, past) {
  return h("section", { id: "alerts" }, h("h2", {}, "Alerts"), list("model-alerts", firing, { model: false }),
    past.length ? h("details", { id: "past-alerts" }, h("summary", {}, `${number(past.length)} that have ended`), list("model-past-alerts", past.slice(0, 200), { model: false })) : null);
}

/** A link to a section: the address stays that of the page. */
function jump(id, text) {
  return h("button", { type: "button", class: "link", onclick: () => {
    const section = document.getElementById(id);
    section.scrollIntoView({ block: "start" });
    section.tabIndex = -1;
    section.focus({ preventScroll: true });
  } }, text);
}

function head(model) {
  return h("header", { class: "page" }, h("p", { class: "dim" }, h("a", { href: "#/" }, "Models"), " ›"), h("h1", {}, model.model),
    model.problem ? h("p", { class: "trouble" }, model.problem) : null,
    h("div", { class: "health" }, Object.entries(model.health).map(([name, said]) => h("span", { class: "concern" }, `${name} `, concern(said)))),
    model.last_event ? h("p", { class: "dim" }, "Last prediction ", timeAgo(model.last_event), model.last_label ? [", last label ", timeAgo(model.last_label)] : null) : null);
}

function controls({ model, version, window, segment, record, go }, lengths, last, older, dropped) {
  const choose = (id, label, options, chosen) => h("label", { for: `choose-${id}` }, label,
    h("select", { id: `choose-${id}`, onchange: (event) => {
      event.target.blur();
      go({ [id]: event.target.value });
    } }, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text))));
  return h("section", { class: "controls", "aria-label": "What is shown" },
    choose("version", "Version", model.versions.map((one) => [one, one]), version),
    choose("window", "Window", lengths.map((one) => [one, one]), window),
    choose("segment", "Segment", [["", "whole model"], ...model.segments.map((one) => [one.name, one.name])], segment),
    choose("last", "Show", Object.entries(RANGES), last),
    h("p", { class: "dim" }, "Chosen window: from ", time(record.window_start), " to ", time(record.window_end), `, revision ${record.revision}, ${number(record.predictions)} predictions. `,
      "Click a plot to choose another.", older ? ` ${number(older)} older windows are not shown.` : "",
      dropped ? ` There was no room for ${number(dropped)} older ones: --memory, or 2,000 of one length.` : ""));
}
