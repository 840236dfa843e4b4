// Tables sorted by a click, or Enter, on a column's head. How a table is sorted outlives an update of the page.

import { h } from "./dom.js";

const sorted = new Map();

/**
 * columns: {name, key, value(row) for sorting, cell(row), numeric, hint, secondary: left out where there is no room}. `first` is the
 * key sorted by at the start ("-key": descending). `kind` "cards": where there is no room, each row is a card, and a choice sorts them.
 */
export function table(id, columns, rows, { first = "", empty = "Nothing here.", caption, row: dress, kind = "" } = {}) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const body = h("tbody");
  const heads = new Map();
  const state = sorted.get(id) ?? { key: first.replace(/^-/, ""), down: first.startsWith("-") };

  function sort(key, down) {
    Object.assign(state, { key, down });
    sorted.set(id, state);
    draw();
  }

  function draw() {
    const column = columns.find((one) => one.key === state.key);
    const order = column ? [...rows].sort((a, b) => compare(column.value(a), column.value(b)) * (state.down ? -1 : 1) || 0) : rows;
    for (const [key, head] of heads) {
      head.setAttribute("aria-sort", key === state.key ? (state.down ? "descending" : "ascending") : "none");
    }
    body.replaceChildren(...order.map((row) =>
      h("tr", dress ? dress(row) : {}, columns.map((one, place) =>
        h(place === 0 ? "th" : "td", { class: dressed(one, one.wide && "wide"), scope: place === 0 ? "row" : null, "data-label": one.name },
          one.cell ? one.cell(row) : String(one.value(row) ?? "–"))))));
  }

  const head = h("tr", {}, columns.map((column) => {
    const cell = h("th", { scope: "col", class: dressed(column), title: column.hint },
      h("button", {
        type: "button", class: "sort", id: `${id}-sort-${column.key}`,
        onclick: () => sort(column.key, state.key === column.key ? !state.down : Boolean(column.numeric)),
      }, column.name));
    heads.set(column.key, cell);
    return cell;
  }));
  draw();
  return h("div", { class: "scroll", "data-scroll": id, tabindex: 0, role: "region", ...(caption ? { "aria-labelledby": `${id}-caption` } : { "aria-label": id }) },
    kind.includes("cards") && rows.length > 1 ? choice(id, columns, state, sort) : null,
    h("table", { id, class: kind || null }, caption ? h("caption", { id: `${id}-caption` }, caption) : null, h("thead", {}, head), body));
}

const dressed = (column, more = null) => [column.numeric && "number", column.secondary && "secondary", more].filter(Boolean).join(" ") || null;

/** For cards, which have no heads to click on. */
function choice(id, columns, state, sort) {
  const by = h("select", { id: `${id}-by`, onchange: () => sort(by.value.replace(/^-/, ""), by.value.startsWith("-")) },
    columns.flatMap(({ name, key, numeric }) => (numeric ? ["-", ""] : ["", "-"]).map((sign) =>
      h("option", { value: sign + key, selected: state.key === key && state.down === Boolean(sign) }, `${name} ${sign ? "↓" : "↑"}`))));
  return h("label", { class: "sort-by" }, "Sorted by ", by);
}

function compare(a, b) {
  const missing = (value) => value === undefined || value === null || value === "";
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}
