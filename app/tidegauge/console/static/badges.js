// States as a shape and a word beside the colour: readable without it.

import { h } from "./dom.js";

const SHAPES = {
  critical: ["M8 1 15 15H1z", "critical"],
  warning: ["M8 1 15 8 8 15 1 8z", "warning"],
  info: ["M2 2H14V14H2z", "info"],
  ok: ["M2 8.5 6 13 14 3", "fine"],
  unwatched: ["M3 8H13", "no monitor"],
  resolved: ["M2 8.5 6 13 14 3", "resolved"],
  silenced: ["M4 3V13M12 3V13", "silenced"],
  acknowledged: ["M1 9 4 13 9 4M8 11 9 13 15 4", "acknowledged"],
};
const OUTLINED = new Set(["ok", "unwatched", "resolved", "silenced", "acknowledged"]);

export function badge(state, word) {
  const [path, usual] = SHAPES[state] ?? SHAPES.unwatched;
  const shape = h("svg", { viewBox: "0 0 16 16", width: 12, height: 12, "aria-hidden": "true", class: OUTLINED.has(state) ? "line" : "" },
    h("path", { d: path }));
  return h("span", { class: `badge ${state}` }, shape, " ", word ?? usual);
}

/** The state of one concern of a model: severity and how many alerts fire. */
export function concern(said) {
  const word = said.firing ? `${said.state}, ${said.firing} firing${said.quiet ? `, ${said.quiet} of them quiet` : ""}` : undefined;
  return badge(said.state, word);
}

/** An alert's status with its severity. */
export function status(data, attention = {}) {
  if (data.status === "resolved") return badge("resolved", data.annotations?.resolution === "restated" ? "restated away" : "resolved");
  const marks = [badge(data.severity, `${data.severity}`)];
  if (attention.acknowledged) marks.push(badge("acknowledged"));
  if (attention.silenced) marks.push(badge("silenced"));
  return h("span", { class: "marks" }, marks.map((mark) => [mark, " "]));
}

/** The monitors whose limit is passed, as badges; whether there is any limit at all. */
export function exceeded(limits, watched = true) {
  if (limits.length) return limits.map((limit) => [badge(limit.severity, limit.monitor), " "]);
  return watched ? badge("ok", "within") : badge("unwatched");
}
