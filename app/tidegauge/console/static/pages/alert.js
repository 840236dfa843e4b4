// One alert: what broke, since when, for whom, what to do; its life, its evidence, its window against the threshold.

import { get, part, post, remove } from "../api.js";
import { badge, status } from "../badges.js";
import { timeChart } from "../charts.js";
import { h, rendered, sentence } from "../dom.js";
import { localTime, none, number, share, time, timeAgo } from "../format.js";
import { marksOf } from "../marks.js";
import { table } from "../table.js";
import { runLink } from "./versions.js";

const LATEST = 6;

export const title = (mark) => `Alert ${mark.slice(0, 8)}`;
export const concerns = (change) => change.alerts || change.operations;

export async function draw({ names: [mark], again }) {
  const [alert, session] = await Promise.all([get(`alerts/${part(mark)}`), get("session")]);
  const { data } = alert.event;
  const { labels } = data;
  const page = `#/models/${part(labels.model)}`;
  const here = new URLSearchParams({ version: labels.model_version, ...(labels.segment ? { segment: labels.segment } : {}), ...(data.window ? { window: data.window.length, at: data.window.start } : {}), ...(labels.feature ? { feature: labels.feature } : {}) });
  document.title = `${labels.alertname} · tidegauge`;
  return [
    h("header", { class: "page" }, h("p", { class: "dim" }, h("a", { href: "#/alerts" }, "Alerts"), " › ", h("a", { href: page }, labels.model)),
      h("h1", {}, [labels.alertname, labels.feature ?? labels.metric].filter(Boolean).join(" · ")), status(data, alert)),
    h("p", { class: "lead" }, sentence(data.annotations.summary)),
    h("p", { class: "dim" }, data.annotations.description),
    facts(data, alert, `${page}?${here}`),
    actions(mark, alert, session, again),
    await windows(data),
    evidence(data, alert.transitions, page),
    playbook(alert.playbook),
    life(alert.transitions),
  ];
}

/** What trained the version, as pairs of names and values. */
function trained(of) {
  const named = [["Code", of.commit], ["Data", of.data_snapshot]].filter(([, text]) => text).map(([name, text]) => [name, h("code", {}, text)]);
  return of.run_id ? [["Run", runLink(of)], ...named] : named;
}

function facts(data, alert, model) {
  const { labels } = data;
  const pairs = [
    ["Model", h("a", { href: model }, labels.model_version)],
    ["For whom", labels.segment || "the whole model"],
    ["Concern", alert.concern],
    ["Since", time(data.starts_at)],
    ["Until", data.ends_at ? time(data.ends_at) : "still firing"],
    ["Metric", h("code", {}, data.metric)],
    ["Value", number(data.value)],
    ["Bad if", data.condition ?? none],
    ["Baseline", number(data.baseline)],
    ["Rests on", `${number(data.sample_size)} samples${data.p_value === null || data.p_value === undefined ? "" : `, p = ${number(data.p_value)}`}`],
    ["Window", data.window ? [data.window.length, " from ", time(data.window.start), `, revision ${data.window.revision}`] : none],
    ...trained(data.lineage ?? {}),
  ];
  return h("dl", { class: "facts" }, pairs.map(([name, of]) => h("div", {}, h("dt", {}, name), h("dd", {}, of))));
}

function actions(mark, alert, session, again) {
  const said = h("p", { role: "status", class: "dim" });
  const comment = h("input", { id: "comment", type: "text", placeholder: "why, for the others", maxlength: 500, "aria-label": "Comment" });
  const act = (work) => async () => {
    try {
      await work();
      await again();
    } catch (error) {
      said.textContent = error.message;
      said.className = "trouble";
    }
  };
  const marks = [];
  if (alert.acknowledged) marks.push(h("p", {}, badge("acknowledged"), ` by ${alert.acknowledged.by}, `, timeAgo(alert.acknowledged.at), alert.acknowledged.comment ? `: ${alert.acknowledged.comment}` : "", " ",
    h("button", { type: "button", onclick: act(() => remove(`alerts/${part(mark)}/acknowledge`)) }, "Take back")));
  if (alert.silenced) marks.push(h("p", {}, badge("silenced"), ` by ${alert.silenced.by} until `, time(alert.silenced.until), alert.silenced.comment ? `: ${alert.silenced.comment}` : "", " ",
    h("button", { type: "button", onclick: act(() => remove(`silences/${part(alert.silenced.id)}`)) }, "End silence")));
  if (!session.can_change) return h("section", { class: "actions" }, marks, h("p", { class: "dim" }, "This console reads files: nothing can be acknowledged or silenced here."));
  const silence = h("select", { id: "silence-for", "aria-label": "Silence for" }, ["1h", "4h", "12h", "1d", "7d"].map((length) => h("option", { value: length }, length)));
  return h("section", { class: "actions", "aria-label": "Actions" }, marks, h("div", { class: "row" },
    comment,
    alert.event.data.status === "firing" && !alert.acknowledged ? h("button", { type: "button", class: "primary", id: "acknowledge", onclick: act(() => post(`alerts/${part(mark)}/acknowledge`, { comment: comment.value })) }, "Acknowledge") : null,
    alert.silenced ? null : [h("span", { class: "row" }, h("button", { type: "button", id: "silence", onclick: act(() => post(`alerts/${part(mark)}/silence`, { duration: silence.value, comment: comment.value })) }, "Silence for"), silence)]), said);
}

/** The metric's windows around the alert, with the limit. */
export async function windows(data) {
  const section = h("section", { id: "window" }, h("h2", {}, "The window against the threshold"));
  if (!data.window) return null;
  const { labels } = data;
  const of = `models/${part(labels.model)}`;
  const which = { version: labels.model_version, window: data.window.length, segment: labels.segment };
  const asked = [get(`${of}/windows`, { ...which, limit: 5000 }), get(`${of}/open-windows`, which), get(of), get("incidents", { model: labels.model })];
  const [{ records }, open, model, { incidents }] = await Promise.all(asked.map((answer) => answer.catch(() => ({ records: [], incidents: [] }))));
  const marks = model.version_details ? marksOf(model, data.window.length, incidents) : [];
  // Windows that have not closed stand at the end, as of their newest predictions, or else as the verdict saw them.
  const last = () => records.at(-1)?.window_start ?? "";
  const still = open.records.filter((record) => record.window_start > last() && read(record, data.metric) !== null);
  records.push(...still);
  let found = records.findIndex((record) => record.window_start === data.window.start);
  const early = found < 0 && data.value !== null && records.length && last() < data.window.start;
  if (early) found = records.push({ window_start: data.window.start, early: data.value, closed: false }) - 1;
  if (found < 0) {
    section.append(h("p", { class: "empty" }, "The window's record is not here: it is older than what the console keeps, or the window is still open and its first. The evidence below is that of the verdict; `tidegauge alerts --json` prints the same."));
    return section;
  }
  const near = records.slice(Math.max(found - 30, 0), found + 31);
  const values = near.map((record) => record.early ?? read(record, data.metric));
  const unclosed = near.map((record, place) => (record.closed === false ? values[place] : null));
  section.append(timeChart({
    id: "chart-alert", label: `${data.metric} by window of ${data.window.length}`, times: near.map((record) => record.window_start), frame: { marks, chosen: near.findIndex((record) => record.window_start === data.window.start) }, height: 240,
    series: [{ name: data.metric.split(".").at(-1), values }, ...(unclosed.some((value) => value !== null) ? [{ name: "still open", values: unclosed, hollow: true }] : [])], limits: thresholds(data.condition), format: number,
  }));
  if (early) section.append(h("p", { class: "dim" }, `The last point is the window as the verdict saw it: it was still open, with ${number(data.sample_size)} samples.`));
  else if (still.length) section.append(h("p", { class: "dim", id: "still-open" }, `The window from ${localTime(last())} is still open: the ring is as of `, time(still.at(-1).as_of), `, with ${number(still.at(-1).predictions)} predictions so far.`));
  const now = early || records[found].closed === false ? null : read(records[found], data.metric);
  if (now !== null && data.value !== null && number(now) !== number(data.value)) {
    section.append(h("p", {}, `The window has been restated since: revision ${records[found].revision} says ${number(now)}, the alert (revision ${data.window.revision}) ${number(data.value)}.`));
  }
  return section;
}

/** The number at a path of a record; names may hold dots. A list counts its members. */
export function read(record, path) {
  if (path === "label_feed.coverage_gap") return record.expected_coverage === undefined ? null : record.expected_coverage - record.coverage;
  let nodes = [[record, path]];
  while (nodes.length) {
    const next = [];
    for (const [node, rest] of nodes) {
      if (node === null || typeof node !== "object") continue;
      for (const [name, child] of Object.entries(node)) {
        if (rest === name) return Array.isArray(child) ? child.length : typeof child === "number" ? child : null;
        if (rest.startsWith(`${name}.`)) next.push([child, rest.slice(name.length + 1)]);
      }
    }
    nodes = next;
  }
  return null;
}

/** The limits in a condition such as "above 0.2 (baseline …)" or "outside 1 to 2". */
export function thresholds(condition) {
  const match = /^(above|below|outside) (-?[\d.e+-]+)(?: to (-?[\d.e+-]+))?/.exec(condition ?? "");
  return match ? match.slice(2).filter((text) => text !== undefined).map((text) => ({ name: `Limit (${match[1]})`, value: Number(text) })) : [];
}

export function evidence(now, transitions, page) {
  // What resolves an alert needs no evidence: then that of its firing is shown.
  const data = [now, ...transitions.map((event) => event.data).reverse()].find(has) ?? now;
  const { segments = [], features = [], carriers = [], request_ids: requests = [], ...rest } = data.evidence ?? {};
  const section = h("section", { id: "evidence" }, h("h2", {}, "Evidence"));
  if (data !== now && has(data)) section.append(h("p", { class: "dim" }, "From when it fired last."));
  const more = Object.entries(rest).filter(([, of]) => of !== null && !(typeof of === "object" && !Object.keys(of).length));
  if (![segments, features, carriers, requests, more].some((part) => part.length)) {
    section.append(h("p", { class: "empty" }, "The alert carries no evidence: none is gathered for what resolves one, nor where no segment, feature or request stands out. The model's page shows the window."));
    return section;
  }
  const feature = (one, said = one.feature) => h("a", { href: `${page}?${new URLSearchParams({ tab: "drift", version: data.labels.model_version, feature: one.feature, ...(data.window ? { window: data.window.length, at: data.window.start } : {}) })}` }, said);
  if (carriers.length) section.append(table("evidence-carriers", [
    { name: "Requests with", key: "segment", value: (one) => name(one.segment), cell: (one) => (one.feature ? feature({ feature: one.feature }, `${one.feature}: ${one.segment[one.feature]}`) : name(one.segment)) },
    ...numbers(carriers, ["segment", "feature", "low", "high"]),
  ], carriers, { kind: "compact cards", caption: "What carries the drop beyond chance, the most significant first" }));
  if (segments.length) section.append(table("evidence-segments", [
    { name: "Segment", key: "segment", value: (one) => name(one.segment), cell: (one) => h("a", { href: `${page}?${new URLSearchParams({ tab: "segments", version: data.labels.model_version, segment: name(one.segment), ...(data.window ? { window: data.window.length, at: data.window.start } : {}) })}` }, name(one.segment)) },
    ...numbers(segments, ["segment"]),
  ], segments, { kind: "compact cards", caption: "Segments that carry it" }));
  if (features.length && numbers(features, ["feature"]).length) section.append(table("evidence-features", [
    { name: "Feature", key: "feature", value: (one) => one.feature, cell: (one) => feature(one) }, ...numbers(features, ["feature"]),
  ], features, { kind: "compact cards", caption: "Features, those that matter most first" }));
  else if (features.length) section.append(h("p", {}, "Features: ", features.map((one, place) => [place ? ", " : "", feature(one)])));
  if (requests.length) section.append(h("h3", {}, "Requests to look at"), h("p", {}, requests.map((id) => [h("code", {}, id), " "])));
  if (more.length) section.append(h("details", { id: "more-evidence", open: true }, h("summary", {}, "More"), h("dl", {}, more.map(([key, of]) => [h("dt", {}, key), h("dd", {}, typeof of === "object" ? h("pre", {}, JSON.stringify(of, null, 1)) : String(of))]))));
  return section;
}

function has({ evidence: of }) {
  return Object.values(of ?? {}).some((part) => (Array.isArray(part) ? part.length : part));
}

const name = (segment) => Object.entries(segment ?? {}).map(([key, of]) => `${key}=${of}`).join(",");

function numbers(rows, without) {
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((key) => !without.includes(key));
  return keys.map((key) => ({ name: key.replaceAll("_", " "), key, numeric: true, value: (row) => row[key], cell: (row) => (key === "share" ? share(row[key]) : number(row[key])) }));
}

function life(transitions) {
  const newest = [...transitions].reverse();
  const list = (events) => h("ol", { class: "life" }, events.map(({ id, time: at, data }) => h("li", { id: `event-${id}` }, time(at), " ", status(data), h("div", {}, sentence(data.annotations.summary)))));
  return h("section", { id: "life" }, h("h2", {}, "Life"), h("p", { class: "dim" }, "The latest change first, at event time of the verdict."), list(newest.slice(0, LATEST)),
    newest.length > LATEST ? h("details", { id: "earlier" }, h("summary", {}, `${newest.length - LATEST} earlier ones`), list(newest.slice(LATEST))) : null);
}

export function playbook(page) {
  if (!page) return h("section", { id: "playbook" }, h("h2", {}, "Playbook"), h("p", { class: "empty" }, "This monitor names no playbook. Give it one in the spec: ", h("code", {}, "runbook: URL"), "."));
  const link = /^https?:/.test(page.url) ? h("p", {}, h("a", { href: page.url, rel: "noreferrer noopener", target: "_blank" }, page.url)) : null;
  return h("section", { id: "playbook" }, h("h2", {}, "Playbook"), link, page.html ? h("div", { class: "text" }, rendered(page.html)) : link ? null : h("p", {}, h("code", {}, page.url)));
}
