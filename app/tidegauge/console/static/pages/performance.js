import { h } from "../dom.js";
import { timeChart } from "../charts.js";
import { title } from "../format.js";
export async function performance({ records, pick, place }) {
  const names = [...new Set(records.flatMap((record) => Object.keys(record.performance ?? {})))].filter((name) => records.some((record) => typeof record.performance?.[name] === "number"));
  return h("section", { id: "performance" }, h("h2", {}, "Performance"), h("div", { class: "charts" }, names.map((name) =>
    timeChart({ id: `chart-${name}`, label: title(name), times: records.map((r) => r.window_start), pick, chosen: place,
      series: [{ name: title(name), values: records.map((r) => r.performance?.[name] ?? null) }] }))));
}
