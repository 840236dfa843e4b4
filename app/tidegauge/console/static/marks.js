// What is drawn above and over plots of time: the chosen window, when versions began and what else changed, how long incidents lasted.

import { h } from "./dom.js";
import { localTime } from "./format.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const STRIPE = 4;
const NAMES = 15;
const NEAR = 6;
const seconds = (at) => Date.parse(at) / 1000;

/** What of `marks` lies between two moments (seconds), and the height in pixels that they take above a plot, so that they never lie across its lines. */
export function laneOf(marks, first, last) {
  const seen = marks.filter(({ at, until, severity }) => seconds(at) <= last && (severity ? !until || seconds(until) >= first : seconds(at) >= first));
  const named = seen.some(({ severity }) => !severity);
  return { seen, height: named ? STRIPE + 3 + NAMES : seen.length ? STRIPE + 3 : 0 };
}

/**
 * Draws `chosen` (seconds since the epoch) as a dashed line, and `marks`: {at, until, name, severity} with times in RFC 3339. One that has a
 * severity is a stripe above the plot, as long as it lasted; another is a dotted line with its name above the plot.
 */
export function drawMarks(plot, chosen, marks) {
  const { ctx, bbox } = plot;
  const [left, right, size] = [bbox.left, bbox.left + bbox.width, devicePixelRatio];
  const place = (moment) => Math.round(plot.valToPos(moment, "x", true));
  ctx.save();
  for (const { at, until, severity } of marks.filter((mark) => mark.severity)) {
    const from = Math.max(place(seconds(at)), left);
    const to = Math.min(until ? place(seconds(until)) : right, right);
    if (to < left || from > right) continue;
    ctx.fillStyle = css(`--${severity}`);
    ctx.fillRect(from, bbox.top - (STRIPE + 2) * size, Math.max(to - from, 2 * size), STRIPE * size);
  }
  const named = marks.filter((mark) => !mark.severity).map(({ at, name }) => ({ place: place(seconds(at)), name })).filter((mark) => mark.place >= left && mark.place <= right);
  for (const mark of named) line(ctx, bbox, mark.place, css("--dim"), [2, 3]);
  ctx.fillStyle = css("--dim");
  ctx.textAlign = "left";
  ctx.font = `${11 * size}px system-ui, sans-serif`;
  const width = (text) => ctx.measureText(text).width / size;
  for (const { text, from } of placed(named.map((mark) => ({ ...mark, place: mark.place / size })), left / size, right / size, width)) {
    ctx.fillText(text, from * size, bbox.top - (STRIPE + 6) * size);
  }
  if (chosen !== undefined) line(ctx, bbox, place(chosen), css("--text"), [4, 4]);
  ctx.restore();
}

/**
 * Where the names of marks are written, side by side between `left` and `right`: right of its mark where there is room up to the next mark, else
 * left of it, else cut short. Marks in one place share a name. `width(text)` in the unit of places. Returns {text, from} of what is written.
 */
export function placed(marks, left, right, width) {
  const groups = [];
  for (const { place, name } of [...marks].sort((a, b) => a.place - b.place)) {
    const last = groups.at(-1);
    if (last && place - last.place < 3) last.name += `, ${name}`;
    else groups.push({ place, name });
  }
  let free = left;
  return groups.flatMap(({ place, name }, number) => {
    const room = (groups[number + 1]?.place ?? right) - place - 8;
    const before = place - 4 - width(name);
    if (width(name) > room && before >= free) {
      free = place;
      return [{ text: name, from: before }];
    }
    let text = name;
    while (text && width(text) > room) text = text.length > 4 ? `${text.slice(0, -2).replace(/…$/, "")}…` : "";
    free = text ? place + 4 + width(text) + 6 : place;
    return text ? [{ text, from: place + 4 }] : [];
  });
}

/** The names of marks and incidents within a few pixels of what is pointed at, in full. */
export function pointedAt(plot, marks) {
  const { left } = plot.cursor;
  if (left === undefined || left < 0) return "";
  const near = (at) => Math.abs(plot.valToPos(seconds(at), "x") - left) <= NEAR;
  return marks.filter(({ at }) => near(at)).map(({ at, name }) => `${localTime(at)}: ${name.replaceAll("`", "")}`).join("\n");
}

function line(ctx, bbox, place, color, dash) {
  ctx.strokeStyle = color;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(place, bbox.top);
  ctx.lineTo(place, bbox.top + bbox.height);
  ctx.stroke();
}

/** A change in words: a mark as it was set, of a spec or baseline what differs. */
const told = ({ kind, text }) => (kind === "mark" ? text : `${kind}: ${text}`);

/** When each version but the first began, of windows of one length, what people marked, and how long each incident of the model lasted. */
export function marksOf(model, window, incidents) {
  const began = model.version_details.flatMap((one) => one.windows.filter((of) => of.window === window).map((of) => ({ at: of.first, name: `${one.model_version} begins` })))
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  const lasted = incidents.filter(({ data }) => data.resolution !== "restated")
    .map(({ data }) => ({ at: data.starts_at, until: data.ends_at, name: data.title, severity: data.severity }));
  return [...began.slice(1), ...model.marks.map((one) => ({ at: one.time, name: told(one), by: one.by })), ...lasted];
}

/** What the marks mean, in words. */
export const legend = () => h("span", { class: "dim" }, "Stripes above plots are incidents; dotted lines say where a version begins, a spec or baseline changed, or somebody set a mark. Drag across a plot to look closer.");
