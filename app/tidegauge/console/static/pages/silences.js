// Silences: what pages nobody for a while, and why.

import { get, part, post, remove } from "../api.js";
import { badge } from "../badges.js";
import { h } from "../dom.js";
import { time } from "../format.js";
import { table } from "../table.js";

export const title = () => "Silences";
export const concerns = (change) => change.operations;

export async function draw({ again }) {
  const [{ silences }, session] = await Promise.all([get("silences"), get("session")]);
  const said = h("p", { role: "status", class: "trouble" });
  const act = (work) => async (event) => {
    event.preventDefault();
    try {
      await work();
      document.activeElement?.blur();
      await again();
    } catch (error) {
      said.textContent = error.message;
    }
  };
  const field = (id, label, more = {}) => h("label", { for: id }, label, h("input", { id, type: "text", ...more }));
  const form = h("form", { class: "controls", onsubmit: act(() => post("silences", { matchers: matchers(form.elements.matchers.value), duration: form.elements.duration.value, comment: form.elements.comment.value })) },
    field("matchers", "Labels, as alertname=auc, model=churn", { required: true, size: 40 }), field("duration", "For", { required: true, value: "2h", size: 6, pattern: "[0-9.]+(m|h|d|w)" }), field("comment", "Why", { maxlength: 500 }),
    h("button", { type: "submit" }, "Silence"));
  return [
    h("h1", {}, "Silences"),
    h("p", { class: "dim" }, "A silenced alert goes on being judged and shown; it pages nobody. The topic tidegauge-operations keeps silences and acknowledgements, so they outlive the console."),
    session.can_change ? form : h("p", { class: "empty" }, "This console reads files: nothing can be silenced here. A console on Kafka can: tidegauge console --bootstrap …"), said,
    table("silences-table", [
      { name: "Labels", key: "labels", value: (one) => JSON.stringify(one.matchers), cell: (one) => Object.entries(one.matchers).filter(([, of]) => of).map(([name, of]) => [h("code", {}, `${name}=${of}`), " "]) },
      { name: "Until", key: "until", value: (one) => one.ends_at, cell: (one) => time(one.ends_at) },
      { name: "State", key: "state", value: (one) => String(one.active), cell: (one) => (one.active ? badge("silenced", "active") : badge("info", "not begun")) },
      { name: "By", key: "by", value: (one) => one.by },
      { name: "Why", key: "why", value: (one) => one.comment },
      { name: "", key: "end", value: () => "", cell: (one) => (session.can_change ? h("button", { type: "button", onclick: act(() => remove(`silences/${part(one.id)}`)) }, "End") : "") },
    ], silences, { first: "until", caption: "Silences that have not ended", empty: "Nothing is silenced. An alert's page can silence that alert; the form above, any set of labels." }),
  ];
}

function matchers(text) {
  const pairs = text.split(",").map((pair) => pair.trim()).filter(Boolean).map((pair) => {
    const place = pair.indexOf("=");
    return [pair.slice(0, place).trim(), pair.slice(place + 1).trim()];
  });
  return Object.fromEntries(pairs.filter(([name]) => name));
}
