// Rolling a model back: choose a version, see what would be done, confirm by its name.

import { part, post } from "../api.js";
import { h } from "../dom.js";

export function rollback({ model, version, session }) {
  const others = model.versions.filter((one) => one !== version);
  if (!session.can_change || session.role !== "decide" || !others.length) return null;
  const said = h("p", { role: "status" });
  const to = h("select", { name: "to", "aria-label": "Version that is to serve again" }, [...others].reverse().map((one) => h("option", { value: one }, one)));
  const confirm = h("input", { name: "confirm", autocomplete: "off", spellcheck: "false" });
  const go = h("button", { type: "button", class: "danger", disabled: true, onclick: () => ask(confirm.value) }, "Roll back");
  const sure = h("label", { hidden: true }, "Type its name to confirm ", confirm, " ", go);
  confirm.addEventListener("input", () => { go.disabled = confirm.value !== to.value; });
  to.addEventListener("change", () => { sure.hidden = true; confirm.value = ""; go.disabled = true; said.textContent = ""; });

  async function ask(confirmed) {
    go.disabled = true;
    said.textContent = "…";
    try {
      const { done, step, answer } = await post(`models/${part(model.model)}/rollback`, { to: to.value, confirm: confirmed });
      said.textContent = done ? `Done: ${answer}.` : `This would be done: ${step}.`;
      sure.hidden = done;
    } catch (error) {
      said.textContent = error.message;
      sure.hidden = true;
    }
    confirm.value = "";
  }

  return h("details", { id: "rollback" }, h("summary", {}, "Roll back to another version"),
    h("p", {}, to, " ", h("button", { type: "button", onclick: () => ask("") }, "What would be done?")), sure, said);
}
