// Tabs as the ARIA practices describe them: one of them is in the order of Tab, arrows move between them, and the address holds the choice.

import { h } from "./dom.js";

const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

/** `names`: [id, text] of each tab; `choose(id)` is called with the one that is wanted. The panel has the id `panel`. */
export function tabs({ label, names, chosen, choose }) {
  const place = names.findIndex(([id]) => id === chosen);
  const move = (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const [id] = names[(place + step + names.length) % names.length];
    document.getElementById(`tab-${id}`).focus();
    choose(id);
  };
  return h("div", { class: "tabs", role: "tablist", "aria-label": label, onkeydown: move }, names.map(([id, text]) =>
    h("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-selected": String(id === chosen), "aria-controls": "panel", tabindex: id === chosen ? 0 : -1, onclick: () => choose(id) }, text)));
}
