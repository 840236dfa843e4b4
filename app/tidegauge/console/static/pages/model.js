// One model: what is known of the chosen version, window length and segment, section by section.

import { get, part } from "../api.js";
import { badge, concern } from "../badges.js";
import { h } from "../dom.js";
import { none, share, time } from "../format.js";
import { performance } from "./performance.js";

export const title = (name) => name;
export const concerns = (change, [name]) => change.many || change.models.includes(name) || change.operations;

const RANGES = { 30: "30 windows", 100: "100 windows", 400: "400 windows", 5000: "all windows" };

export async function draw({ names: [name], query, go }) {
  const model = await get(`models/${part(name)}`);
  const version = query.get("version") ?? model.newest?.model_version ?? model.versions[0];
  if (!version) return [head(model), h("p", { class: "empty" }, "No window of this model has closed yet. Once one has, its numbers appear here.")];
  const details = model.version_details.find((one) => one.model_version === version);
  const lengths = (details?.windows ?? []).map((one) => one.window);
  const window = query.get("window") ?? (model.newest?.model_version === version ? model.newest.window : lengths[0]);
  const segment = query.get("segment") ?? "";
  const limit = query.get("last") ?? "100";
  const { records, left_off: older } = await get(`models/${part(name)}/windows`, { version, window, segment, limit });
  const at = query.get("at") ?? records.at(-1)?.window_start;
  const place = Math.max(records.findIndex((record) => record.window_start === at), 0);
  const seen = { model, version, window, segment, records, at, place, record: records[place], pick: (index) => go({ at: records[index].window_start }), go };
  return [
    head(model),
    controls(seen, lengths, limit, older, go),
    await performance(seen),
  ];
}

function head(model) {
  return h("header", { class: "page" }, h("p", { class: "dim" }, h("a", { href: "#/" }, "Models"), " ›"), h("h1", {}, model.model),
    h("div", { class: "health" }, Object.entries(model.health).map(([name, said]) => h("span", { class: "concern" }, `${name} `, concern(said)))));
}

function controls({ model, version, window, segment, record, records, place }, lengths, limit, older, go) {
  const choose = (id, label, options, chosen, name) => h("label", { for: id }, label,
    h("select", { id, onchange: (event) => go({ [name]: event.target.value, ...(name === "last" ? {} : { at: null }) }) },
      options.map(([value, text]) => h("option", { value, selected: value === chosen }, text))));
  return h("section", { class: "controls", "aria-label": "What is shown" },
    choose("version", "Version", model.versions.map((one) => [one, one]), version, "version"),
    choose("length", "Window", lengths.map((one) => [one, one]), window, "window"),
    choose("segment", "Segment", [["", "whole model"], ...model.segments.map((one) => [one.name, one.name])], segment, "segment"),
    choose("last", "Show", Object.entries(RANGES), limit, "last"),
    h("p", { class: "dim" }, records.length ? ["Chosen window: ", time(record.window_start), ", revision ", record.revision, " "] : "No windows."));
}
