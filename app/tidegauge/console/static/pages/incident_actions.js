// What people do about an incident, or about one fault in several models, at once: acknowledge, silence, note; and what others did.

import { part, post } from "../api.js";
import { badge } from "../badges.js";
import { h } from "../dom.js";
import { number, time } from "../format.js";

const LENGTHS = ["1h", "4h", "12h", "1d", "7d"];

/**
 * A form for all of its firing alerts. `id`: of the incident; `left`: how many of its alerts are to be acknowledged and silenced;
 * `models`: how many models the fault is in, all of which are meant; `again` draws the page anew.
 */
export function incidentActions({ id, left, models, again }) {
  const said = h("p", { role: "status", class: "dim" });
  const note = h("input", { id: `note-${id}`, class: "comment", type: "text", placeholder: "a note for the others", maxlength: 500, "aria-label": "Note" });
  const length = h("select", { id: `silence-for-${id}`, "aria-label": "Silence for" }, LENGTHS.map((one) => h("option", { value: one }, one)));
  const act = (what, more) => async () => {
    try {
      await post(`incidents/${part(id)}/${what}`, { together: models > 1, ...more() });
      note.value = "";
      note.blur();
      await again();
    } catch (error) {
      said.textContent = error.message;
      said.className = "trouble";
    }
  };
  const all = (count) => `${count === 1 ? "its alert" : `all ${number(count)} alerts`}${models > 1 ? ` in ${number(models)} models` : ""}`;
  const button = (name, text, work, dress) => h("button", { type: "button", class: dress, id: `${name}-${id}`, onclick: work }, text);
  return h("div", { class: "act" }, h("div", { class: "row" }, note,
    left.acknowledge ? button("acknowledge", `Acknowledge ${all(left.acknowledge)}`, act("acknowledge", () => ({ comment: note.value })), "primary") : null,
    left.silence ? h("span", { class: "row" }, button("silence", `Silence ${all(left.silence)} for`, act("silence", () => ({ duration: length.value, comment: note.value }))), length) : null,
    button("note-it", "Only note", act("notes", () => ({ text: note.value })))), said);
}

/** In a row of incidents: what people did about it so far, and the form, folded. `attention` by id of incident, as the API tells it. */
export function rowActions({ data, members }, attention, { can_change: may, again }) {
  const found = members.map((one) => attention[one.data.incident]).filter(Boolean);
  const sum = (what) => found.reduce((total, one) => total + one[what], 0);
  const firing = sum("firing");
  const people = [...new Set(found.flatMap((one) => one.by))].join(", ");
  const did = ["acknowledged", "silenced"].filter((what) => sum(what)).map((what) => [badge(what, sum(what) === firing ? what : `${sum(what)} of ${firing} ${what}`), " "]);
  const last = found.map((one) => one.note).filter(Boolean).sort((a, b) => Date.parse(a.at) - Date.parse(b.at)).at(-1);
  const left = { acknowledge: firing - sum("acknowledged"), silence: firing - sum("silenced") };
  return [
    did.length || last ? h("div", { class: "did" }, did, people ? h("span", { class: "dim" }, `by ${people} `) : null, last ? h("span", { class: "dim" }, `“${last.text}”, ${last.by}`) : null) : null,
    may ? h("details", { id: `act-${data.incident}` }, h("summary", {}, members.length > 1 ? `Act on all ${number(members.length)} models` : "Act"), incidentActions({ id: data.incident, left, models: members.length, again })) : null,
  ];
}

/** Who acknowledged and silenced its alerts, and what was noted. */
export function whatOthersDid(alerts, notes) {
  const told = (name, word) => {
    const found = alerts.map((alert) => alert[name]).filter(Boolean);
    if (!found.length) return null;
    const comments = [...new Set(found.map((one) => one.comment).filter(Boolean))];
    return h("p", {}, badge(name), ` ${found.length} of ${alerts.length} alerts, by ${[...new Set(found.map((one) => one.by))].join(", ")}`, word(found[0]), comments.length ? `: ${comments.join("; ")}` : "");
  };
  return [told("acknowledged", ({ at }) => [", ", time(at)]), told("silenced", ({ until }) => [" until ", time(until)]),
    notes.map((one) => h("p", { class: "noted" }, time(one.at), ` ${one.by}: ${one.text}`))];
}
