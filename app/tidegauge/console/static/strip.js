// Cells in a row, one a moment: what the heatmap of features and the health of the fleet are made of. Equal neighbours are one rectangle.

import { h } from "./dom.js";

const HEIGHT = 14;

/** `cells`: a class name of each moment, null for nothing; `label` says the row in words; `hint(place)` what a cell says when pointed at. */
export function strip(cells, label, { height = HEIGHT, hint } = {}) {
  const runs = [];
  cells.forEach((kind, place) => {
    const last = runs.at(-1);
    if (last && last.kind === kind && !hint) last.size += 1;
    else runs.push({ kind, place, size: 1 });
  });
  return h("svg", { class: "strip", viewBox: `0 0 ${Math.max(cells.length, 1)} 1`, preserveAspectRatio: "none", height, role: "img", "aria-label": label },
    runs.filter(({ kind }) => kind).map(({ kind, place, size }) => {
      const cell = h("rect", { x: place, y: 0, width: size, height: 1, class: kind });
      if (hint) cell.append(h("title", {}, hint(place)));
      return cell;
    }));
}
