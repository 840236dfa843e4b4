// Cells in a row, one a moment: what the heatmap of features and the health of the fleet are made of. Equal neighbours are one rectangle.

import { h } from "./dom.js";

const HEIGHT = 14;

/** `cells`: a class name of each moment, null for nothing; `label` says the row in words; `hint(place)` what a cell says when pointed at, `kind` a class of its own. */
export function strip(cells, label, { height = HEIGHT, hint, kind: dress = "" } = {}) {
  const runs = [];
  cells.forEach((kind, place) => {
    const last = runs.at(-1);
    if (last && last.kind === kind && !hint) last.size += 1;
    else runs.push({ kind, place, size: 1 });
  });
  return h("svg", { class: `strip ${dress}`, viewBox: `0 0 ${Math.max(cells.length, 1)} 1`, preserveAspectRatio: "none", height, role: "img", "aria-label": label },
    runs.filter(({ kind }) => kind).map(({ kind, place, size }) => {
      const cell = h("rect", { x: place, y: 0, width: size, height: 1, class: kind });
      if (hint) cell.append(h("title", {}, hint(place)));
      return cell;
    }));
}

const EDGE = 0.08;

/** A line without axes, as wide as its place; `label` says in words what it shows. */
export function sparkline(values, label, { height = 26, zero = false } = {}) {
  const known = values.filter((value) => typeof value === "number");
  if (known.length < 2) return null;
  const low = zero ? Math.min(0, ...known) : Math.min(...known);
  const size = Math.max(...known) - low || 1;
  let pen = "M";
  const path = values.map((value, place) => {
    if (typeof value !== "number") {
      pen = "M";
      return "";
    }
    const step = `${pen}${place} ${(1 - EDGE - ((value - low) / size) * (1 - 2 * EDGE)).toFixed(3)}`;
    pen = "L";
    return step;
  }).join("");
  return h("svg", { class: "spark", viewBox: `0 0 ${Math.max(values.length - 1, 1)} 1`, preserveAspectRatio: "none", height, role: "img", "aria-label": label }, h("path", { d: path }));
}

/** From when to when something lasted, on an axis from `begin` to `end`; all in milliseconds. */
export function bar({ begin, end }, since, until, kind, label) {
  const whole = Math.max(end - begin, 1);
  const [x, width] = [(since - begin) / whole, Math.max((until - since) / whole, 0.01)];
  return h("svg", { class: "strip health", viewBox: "0 0 1 1", preserveAspectRatio: "none", height: HEIGHT, role: "img", "aria-label": label },
    h("rect", { x: Math.min(x, 0.99), y: 0, width, height: 1, class: `bar ${kind}` }));
}
