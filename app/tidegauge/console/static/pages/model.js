// One model: what is known of the chosen version, window length, segment and range of time, a tab at a time.

import { get, part } from "../api.js";
import { concern } from "../badges.js";
import { h } from "../dom.js";
import { number, time, timeAgo } from "../format.js";
import { legend, marksOf } from "../marks.js";
import { tabs } from "../tabs.js";
import { compare } from "./compare.js";
import { drift } from "./drift.js";
import { business, system } from "./operation.js";
import { overview } from "./overview.js";
import { labels, performance, restatements } from "./performance.js";
import { segments } from "./segments.js";
import { lineage, versions } from "./versions.js";

export const title = (name) => name;
export const concerns = (change, [name]) => change.many || change.models.includes(name) || change.operations;

const RANGES = { 30: "30 windows", 100: "100 windows", 400: "400 windows", 5000: "all windows" };
const TABS = {
  overview: ["Overview", overview], performance: ["Performance", performance], drift: ["Drift", drift], segments: ["Segments", segments],
  labels: ["Labels", async (seen) => [labels(seen), await restatements(seen)]], versions: ["Versions", versions], compare: ["Compare", compare], system: ["System", system],
  business: ["Business", business], lineage: ["Lineage", lineage],
};
/** Tabs that do not speak of windows. */
const WITHOUT_WINDOWS = new Set(["lineage"]);

export async function draw({ names: [name], query, go }) {
  const [model, { alerts }, { incidents }] = await Promise.all([get(`models/${part(name)}`), get("alerts", { model: name }), get("incidents", { model: name })]);
  const version = query.get("version") ?? model.newest?.model_version ?? model.versions[0];
  const details = model.version_details.find((one) => one.model_version === version);
  if (!version || !details) {
    return [head(model), h("p", { class: "empty" }, version ? `No windows of version ${version} are held. ` : "No window of this model has closed yet. Once one has, its numbers appear here. ",
      h("a", { href: `#/models/${part(name)}` }, "Show the newest version"), " or see whether events arrive on the page ", h("a", { href: "#/stream" }, "Stream"), "."), lineage({ model })];
  }
  const tab = TABS[query.get("tab")] ? query.get("tab") : "overview";
  const lengths = details.windows.map((one) => one.window);
  const window = query.get("window") ?? (model.newest?.model_version === version ? model.newest.window : lengths.at(-1));
  const segment = query.get("segment") ?? "";
  const last = query.get("last") ?? "100";
  const [from, to] = [query.get("from"), query.get("to")];
  const [{ records, left_off: older }, { limits }] = await Promise.all([
    get(`models/${part(name)}/windows`, { version, window, segment, from, to, limit: from ? 5000 : last }),
    get(`models/${part(name)}/limits`, { version, window }),
  ]);
  const top = [head(model), tabs({ label: "Sections", names: Object.entries(TABS).map(([id, [text]]) => [id, text]), chosen: tab, choose: (id) => go({ tab: id }) })];
  if (!records.length) return [...top, h("p", { class: "empty" }, "No window lies in this range. ", whole(go))];
  const found = records.findIndex((record) => record.window_start === query.get("at"));
  const place = found < 0 ? records.length - 1 : found;
  const record = records[place];
  const dropped = segment ? 0 : (details.windows.find((one) => one.window === window)?.dropped ?? 0);
  const frame = {
    pick: (index) => go({ at: records[index].window_start }), brush: (since, until) => go({ from: since, to: until }),
    chosen: place, marks: marksOf(model, window, incidents),
  };
  const seen = { model, version, window, segment, records, limits, place, record, at: record.window_start, alerts, incidents, frame, query, go };
  return [
    ...top,
    WITHOUT_WINDOWS.has(tab) ? null : [controls(seen, lengths, last, { from, to, older, dropped }), misread(record.prediction)],
    h("div", { role: "tabpanel", id: "panel", class: `dense ${tab}`, "aria-labelledby": `tab-${tab}` }, await TABS[tab][1](seen)),
  ].flat(Infinity);
}

/** That the confidence is the predicted class's, where the events show it and the spec does not say so. */
function misread(prediction) {
  return prediction?.misread_confidence ? h("p", { class: "trouble" }, `All ${number(prediction.misread_confidence)} negative predictions of this window have a confidence above one half: it is the predicted class's. `,
    prediction.confidence_is ? "The numbers here read it so. " : "The numbers here read it as the positive class's. ", "Write ", h("code", {}, "confidence_is: predicted"), " in the spec.") : null;
}

function head(model) {
  return h("header", { class: "page model" }, h("p", { class: "dim" }, h("a", { href: "#/" }, "Models"), " ›"), h("h1", {}, model.model),
    model.problem ? h("p", { class: "trouble" }, model.problem) : null,
    h("div", { class: "health" }, Object.entries(model.health).map(([name, said]) => h("span", { class: "concern" }, `${name} `, concern(said))),
      model.last_event ? h("span", { class: "dim" }, "Last prediction ", timeAgo(model.last_event), model.last_label ? [", last label ", timeAgo(model.last_label)] : null) : null));
}

const whole = (go) => h("button", { type: "button", id: "whole-range", onclick: () => go({ from: null, to: null }) }, "Whole range");

function controls({ model, version, window, segment, records, place, record, go }, lengths, last, { from, to, older, dropped }) {
  const choose = (id, label, options, chosen) => h("label", { for: `choose-${id}` }, label,
    h("select", { id: `choose-${id}`, onchange: (event) => {
      event.target.blur();
      go({ [id]: event.target.value });
    } }, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text))));
  const step = (id, sign, label, to) => h("button", { type: "button", id: `window-${id}`, "aria-label": label, title: label, disabled: !records[to], onclick: () => go({ at: records[to].window_start }) }, sign);
  return h("section", { class: "controls", "aria-label": "What is shown" },
    choose("version", "Version", model.versions.map((one) => [one, one]), version),
    choose("window", "Window", lengths.map((one) => [one, one]), window),
    choose("segment", "Segment", [["", "whole model"], ...model.segments.map((one) => [one.name, one.name])], segment),
    from ? h("div", { class: "range" }, h("span", {}, "From ", time(from), " to ", time(to)), whole(go)) : choose("last", "Show", Object.entries(RANGES), last),
    h("div", { class: "steps" }, step("earlier", "◂", "The window before", place - 1), step("later", "▸", "The window after", place + 1)),
    h("p", { class: "dim" }, time(record.window_start), " to ", time(record.window_end), `, revision ${record.revision}, ${number(record.predictions)} predictions.`,
      older && !from ? ` ${number(older)} older windows are not shown.` : "",
      dropped ? ` There was no room for ${number(dropped)} older ones: --memory, or 2,000 of one length.` : ""),
    h("details", { id: "reading-plots", class: "help" }, h("summary", {}, "How to read plots"), h("p", {}, "Click a plot, or step with ◂ and ▸, to choose the window that tables speak of; its values stand above each plot. ", legend())));
}
