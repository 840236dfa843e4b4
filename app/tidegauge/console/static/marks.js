// What is drawn over plots of time: the chosen window, when versions began, how long incidents lasted.

import { h } from "./dom.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const STRIPE = 5;

/**
 * Draws `chosen` (seconds since the epoch) as a dashed line, and `marks`: {at, until, name, severity} with times in RFC 3339. One that has a
 * severity is a stripe along the top, as long as it lasted; another is a line with its name.
 */
export function drawMarks(plot, chosen, marks) {
  const { ctx, bbox } = plot;
  const right = bbox.left + bbox.width;
  const place = (seconds) => Math.round(plot.valToPos(seconds, "x", true));
  ctx.save();
  for (const { at, until, name, severity } of marks) {
    const from = Math.max(place(Date.parse(at) / 1000), bbox.left);
    if (severity) {
      const to = Math.min(until ? place(Date.parse(until) / 1000) : right, right);
      if (to < bbox.left || from > right) continue;
      const high = STRIPE * devicePixelRatio;
      ctx.fillStyle = css(`--${severity}`);
      ctx.globalAlpha = 0.35;
      ctx.fillRect(from, bbox.top, Math.max(to - from, 3), high);
      ctx.globalAlpha = 1;
      ctx.fillRect(from, bbox.top, 2 * devicePixelRatio, 2 * high);
    } else if (place(Date.parse(at) / 1000) >= bbox.left && from <= right) {
      line(ctx, bbox, from, css("--dim"), [2, 3]);
      ctx.fillStyle = css("--dim");
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      const beyond = from + ctx.measureText(name).width + 8 > right;
      ctx.textAlign = beyond ? "right" : "left";
      ctx.fillText(name, from + (beyond ? -4 : 4), bbox.top + 18 * devicePixelRatio);
    }
  }
  if (chosen !== undefined) line(ctx, bbox, place(chosen), css("--text"), [4, 4]);
  ctx.restore();
}

function line(ctx, bbox, place, color, dash) {
  ctx.strokeStyle = color;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(place, bbox.top);
  ctx.lineTo(place, bbox.top + bbox.height);
  ctx.stroke();
}

/** When each version but the first began, of windows of one length, what people marked, and how long each incident of the model lasted. */
export function marksOf(model, window, incidents) {
  const began = model.version_details.flatMap((one) => one.windows.filter((of) => of.window === window).map((of) => ({ at: of.first, name: `${one.model_version} begins` })))
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  const lasted = incidents.filter(({ data }) => data.resolution !== "restated")
    .map(({ data }) => ({ at: data.starts_at, until: data.ends_at, name: data.title, severity: data.severity }));
  return [...began.slice(1), ...model.marks.map(({ time, text }) => ({ at: time, name: text })), ...lasted];
}

/** What the marks mean, in words. */
export const legend = () => h("span", { class: "dim" }, "Stripes on top of plots are incidents, dotted lines where a version begins or somebody set a mark. Drag across a plot to look closer.");
