// Numbers, shares, times and lengths of time as people read them.

import { h } from "./dom.js";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const local = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});

export const none = "–";

/** Four significant digits; whole numbers in full. */
export function number(value) {
  if (value === null || value === undefined) return none;
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(2);
  return Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });
}

export function share(value) {
  if (typeof value !== "number") return none;
  const percent = value * 100;
  return `${percent !== 0 && Math.abs(percent) < 0.1 ? percent.toPrecision(2) : percent.toFixed(1)} %`;
}

export function bytes(value) {
  if (value < 1024) return `${value} B`;
  const units = ["KiB", "MiB", "GiB"];
  let size = value / 1024;
  let unit = 0;
  for (; size >= 1024 && unit < units.length - 1; unit += 1) size /= 1024;
  return `${size.toFixed(1)} ${units[unit]}`;
}

/** Seconds as "2.7 h". */
export function span(seconds) {
  if (typeof seconds !== "number") return none;
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (Math.abs(seconds) >= size) return `${Number((seconds / size).toPrecision(3))} ${unit}`;
  }
  return `${Number(seconds.toPrecision(3))} s`;
}

/** "2025-09-27 02:00" in the reader's zone. */
export function localTime(iso) {
  const parts = Object.fromEntries(local.formatToParts(new Date(iso)).map((part) => [part.type, part.value]));
  return `${parts.year}-${parts.month}-${parts.day} ${parts.hour}:${parts.minute}`;
}

const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const dayAndYear = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** "27 Sept" in the reader's zone, and the year where it is asked for. */
export function dayOfYear(iso, year = false) {
  return (year ? dayAndYear : day).format(new Date(iso));
}

export function utcTime(iso) {
  return new Date(iso).toISOString().replace("T", " ").replace(/(:00)?\.000Z$/, "") + " UTC";
}

/** A time in the reader's zone, UTC on hover. */
export function time(iso) {
  if (!iso) return none;
  return h("time", { datetime: iso, title: `${utcTime(iso)} (shown in ${zone})` }, localTime(iso));
}

export function ago(iso) {
  const seconds = (Date.now() - new Date(iso).getTime()) / 1000;
  return seconds < 0 ? "in the future" : `${span(Math.max(seconds, 1))} ago`;
}

/** A time, and how long ago it was. */
export function timeAgo(iso) {
  return iso ? h("span", {}, time(iso), " ", h("span", { class: "dim nowrap" }, `(${ago(iso)})`)) : none;
}

const WORDS = { roc_auc: "ROC AUC", f1: "F1", ece: "ECE", psi: "PSI", ks: "KS", js: "JS", mae: "MAE", rmse: "RMSE", r2: "R²", mape: "MAPE" };

/** "roc_auc" → "ROC AUC", "log_loss" → "Log loss". */
export function title(name) {
  if (WORDS[name]) return WORDS[name];
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const SHARES = /(ratio|coverage|rate|share)$/;

/** A value as its name suggests: ratios as per cent. */
export function value(name, of) {
  return SHARES.test(name) && typeof of === "number" && Math.abs(of) <= 1 ? share(of) : number(of);
}
