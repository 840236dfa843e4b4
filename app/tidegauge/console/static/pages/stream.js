// How the stream is doing: lag, throughput, watermark, dead letters with reasons and samples.

import { get } from "../api.js";
import { badge } from "../badges.js";
import { timeChart } from "../charts.js";
import { h } from "../dom.js";
import { bytes, none, number, time, timeAgo } from "../format.js";
import { table } from "../table.js";

export const title = () => "Stream";
export const concerns = (change) => change.stream;

export async function draw() {
  const stream = await get("stream");
  return [h("h1", {}, "Stream"), misplaced(stream), lag(stream), watermarks(stream), letters(stream), itself(stream)];
}

function misplaced({ misplaced: found }) {
  return found.length ? h("section", { id: "misplaced" }, h("h2", {}, "Events in the wrong partition"),
    ...found.map((one) => h("p", { class: "trouble" }, badge("warning", one.mistake), ` ${one.text}.`)),
    h("p", {}, "Labels do not find their predictions. What to do is in the playbook docs/playbooks/partitioner.md.")) : null;
}

// Seconds from which on it is no rebalance any more.
const STANDS_STILL = 30;

function lag({ reachable, partitions, samples }) {
  const section = h("section", { id: "lag" }, h("h2", {}, "Lag and throughput"));
  if (!reachable) section.append(h("p", { class: "trouble" }, badge("critical", "Kafka does not answer"), " What is shown is as it was; the console tries again by itself."));
  const standing = partitions.filter((one) => one.stands_still_seconds >= STANDS_STILL);
  if (standing.length) {
    section.append(h("p", { class: "trouble", id: "standstill" }, badge("critical", "Nobody processes"), ` ${standing.map((one) => `${one.topic} ${one.partition}`).join(", ")}: records wait there and nothing has gone on for ${number(Math.round(Math.max(...standing.map((one) => one.stands_still_seconds))))} s. The logs of the workers say why.`));
  }
  if (!partitions.length) {
    section.append(h("p", { class: "empty" }, "No worker has committed anything yet. Start one: ", h("code", {}, "tidegauge worker --bootstrap …"), "; where one runs, its --app-id has to be the console's."));
    return section;
  }
  const now = samples.at(-1);
  const times = samples.map((one) => one.at);
  const stages = [...new Set(samples.flatMap((one) => Object.keys(one.lag)))].sort();
  section.append(
    h("dl", { class: "facts" }, [
      ...stages.map((stage) => [`Lag of ${stage}`, `${number(now.lag[stage] ?? null)} records`]),
      ["Written", now.written_per_second === null ? none : `${number(Math.round(now.written_per_second))} a second`],
      ["Processed", now.processed_per_second === null ? none : `${number(Math.round(now.processed_per_second))} a second`],
      ["Measured", timeAgo(now.at)],
    ].map(([name, of]) => h("div", {}, h("dt", {}, name), h("dd", {}, of)))),
    h("div", { class: "charts" },
      timeChart({ id: "chart-lag", label: "Records not yet processed", moment: "At", times, series: stages.map((stage) => ({ name: stage, values: samples.map((one) => one.lag[stage] ?? null) })), includeZero: true }),
      timeChart({ id: "chart-throughput", label: "Events a second", moment: "At", times, includeZero: true, series: [
        { name: "written", values: samples.map((one) => one.written_per_second) }, { name: "processed", values: samples.map((one) => one.processed_per_second) }] })),
    h("details", { id: "partitions" }, h("summary", {}, "By partition"), table("partitions-table", [
      { name: "Topic", key: "topic", value: (one) => one.topic },
      { name: "Partition", key: "partition", numeric: true, value: (one) => one.partition },
      { name: "Stage", key: "stage", value: (one) => one.stage },
      { name: "Processed up to", key: "committed", numeric: true, value: (one) => one.committed, cell: (one) => number(one.committed) },
      { name: "Written up to", key: "end", numeric: true, value: (one) => one.end, cell: (one) => number(one.end) },
      { name: "Lag", key: "lag", numeric: true, value: (one) => one.lag, cell: (one) => number(one.lag) },
      { name: "Stands still", key: "stands-still", numeric: true, value: (one) => one.stands_still_seconds, cell: (one) => one.stands_still_seconds ? `${number(Math.round(one.stands_still_seconds))} s` : none },
    ], partitions, { first: "-lag", kind: "cards", caption: "Partitions" })));
  return section;
}

function watermarks({ watermarks: models, tasks }) {
  return h("section", { id: "watermarks" }, h("h2", {}, "Event time"),
    table("watermarks-table", [
      { name: "Model", key: "model", value: (one) => one.model, cell: (one) => h("a", { href: `#/models/${encodeURIComponent(one.model)}` }, one.model) },
      { name: "Watermark", key: "watermark", value: (one) => one.watermark, cell: (one) => timeAgo(one.watermark), hint: "Up to where every busy partition has been read: windows that ended before it, and their grace, are closed" },
      { name: "Newest prediction", key: "prediction", value: (one) => one.prediction, cell: (one) => timeAgo(one.prediction) },
      { name: "Newest label", key: "label", value: (one) => one.label, cell: (one) => timeAgo(one.label) },
    ], models, { first: "watermark", caption: "How far each model's events have come", empty: "No worker has said anything since this console started, nor shortly before. Is one running? Its log says what it waits for; its --app-id has to be the console's." }),
    tasks.length ? h("details", { id: "tasks" }, h("summary", {}, "Join tasks"), table("tasks-table", [
      { name: "Partition", key: "partition", numeric: true, value: (one) => one.partition },
      { name: "Heard of", key: "heard", value: (one) => one.heard, cell: (one) => timeAgo(one.heard) },
      { name: "State", key: "idle", value: (one) => String(one.idle), cell: (one) => (one.idle ? badge("unwatched", "idle") : badge("ok", "busy")) },
    ], tasks, { first: "partition", caption: "Join tasks, by the partition they own" })) : null);
}

function letters({ dead_letters: reasons }) {
  const section = h("section", { id: "dead-letters" }, h("h2", {}, "Dead letters"));
  if (!reasons.length) {
    section.append(h("p", { class: "empty" }, badge("ok", "none"), " Every event in the topics could be read."));
    return section;
  }
  section.append(h("p", { class: "dim" }, "Events that could not be taken, as the topic dead-letters holds them now. Values are shown as text, cut after 2,000 characters; they may hold personal data."),
    ...reasons.map((one) => h("details", { id: `letters-${one.reason}`, open: reasons.length === 1 }, h("summary", {}, h("strong", {}, one.reason), ` ${number(one.count)}`), table(`letters-table-${one.reason}`, [
      { name: "At", key: "at", value: (letter) => letter.at, cell: (letter) => time(letter.at) },
      { name: "Why", key: "why", value: (letter) => letter.message },
      { name: "From", key: "from", value: (letter) => `${letter.topic} ${letter.partition} ${letter.offset}`, cell: (letter) => `${letter.topic}, partition ${letter.partition}, offset ${letter.offset}` },
      { name: "Value", key: "value", wide: true, value: (letter) => letter.value, cell: (letter) => h("pre", { class: "value" }, letter.value, letter.cut ? " …" : "") },
    ], one.samples, { first: "-at", kind: "cards", caption: `The newest ${one.samples.length} of ${number(one.count)}` }))));
  return section;
}

function itself({ console: of }) {
  const problems = Object.entries(of.problems);
  return h("section", { id: "console" }, h("h2", {}, "This console"), h("dl", { class: "facts" }, [
    ["Records read", number(of.records)], ["Windows held", number(of.windows)], ["Memory for them", `${bytes(of.bytes)} of ${bytes(of.budget_bytes)}`],
    ["Older windows not kept", number(of.dropped)], ["Older records read", `${Math.floor(of.read * 100)} %`], ["Records not readable", number(of.unreadable)],
  ].map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text)))), problems.map(([model, text]) => h("p", { class: "trouble" }, `${model}: ${text}`)));
}
