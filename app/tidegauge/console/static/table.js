// Tables sorted by a click, or Enter, on a column's head. How a table is sorted outlives an update of the page.

import { h } from "./dom.js";

const sorted = new Map();

/**
 * columns: {name, key, value(row) for sorting, cell(row), numeric, hint}. `first` is the key sorted by at the start ("-key": descending).
 */
export function table(id, columns, rows, { first = "", empty = "Nothing here.", caption, row: dress, kind = "" } = {}) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const body = h("tbody");
  const heads = new Map();
  const state = sorted.get(id) ?? { key: first.replace(/^-/, ""), down: first.startsWith("-") };

  function draw() {
    const column = columns.find((one) => one.key === state.key);
    const order = column ? [...rows].sort((a, b) => compare(column.value(a), column.value(b)) * (state.down ? -1 : 1) || 0) : rows;
    for (const [key, head] of heads) {
      head.setAttribute("aria-sort", key === state.key ? (state.down ? "descending" : "ascending") : "none");
    }
    body.replaceChildren(...order.map((row) =>
      h("tr", dress ? dress(row) : {}, columns.map((one, place) =>
        h(place === 0 ? "th" : "td", { class: one.numeric ? "number" : one.wide ? "wide" : null, scope: place === 0 ? "row" : null, "data-label": one.name },
          one.cell ? one.cell(row) : String(one.value(row) ?? "–"))))));
  }

  const head = h("tr", {}, columns.map((column) => {
    const cell = h("th", { scope: "col", class: column.numeric ? "number" : null, title: column.hint },
      h("button", {
        type: "button", class: "sort", id: `${id}-sort-${column.key}`,
        onclick: () => {
          state.down = state.key === column.key ? !state.down : Boolean(column.numeric);
          state.key = column.key;
          sorted.set(id, state);
          draw();
        },
      }, column.name));
    heads.set(column.key, cell);
    return cell;
  }));
  draw();
  return h("div", { class: "scroll", "data-scroll": id, tabindex: 0, role: "region", "aria-label": caption ?? id },
    h("table", { id, class: kind || null }, caption ? h("caption", {}, caption) : null, h("thead", {}, head), body));
}

function compare(a, b) {
  const missing = (value) => value === undefined || value === null || value === "";
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}
