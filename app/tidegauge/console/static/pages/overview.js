// A model on one screen: what is broken beside how well it does, whether labels come, how much it is asked, what its inputs do.

import { timeChart } from "../charts.js";
import { h } from "../dom.js";
import { number } from "../format.js";
import { list } from "./alerts.js";
import { heatmap } from "./heatmap.js";
import { list as incidentList, merged } from "./incidents.js";
import { coverage, metricChart, metrics } from "./performance.js";

const PAST = 200;
const FIRING = 100;

export async function overview(seen) {
  const { records, alerts, incidents, frame, go } = seen;
  const firing = alerts.filter((one) => one.event.data.status === "firing");
  const past = alerts.filter((one) => one.event.data.status !== "firing");
  const open = incidents.filter(({ data }) => data.status === "open");
  const [main] = [...metrics(records, "performance"), ...metrics(records, "estimated")];
  return [
    open.length ? h("section", { id: "model-incidents" }, h("h2", {}, "Open incidents"), incidentList("model-incidents-table", merged(open, []), { open: true, model: false })) : null,
    h("section", { id: "summary", class: "charts" },
      main ? metricChart(seen, main, "overview") : null,
      coverage(seen),
      timeChart({ id: "chart-overview-traffic", label: "Predictions a window", times: records.map((one) => one.window_start), frame, includeZero: true, format: number,
        series: [{ name: "Predictions", values: records.map((one) => one.predictions ?? null) }] })),
    await heatmap(seen, { most: 8, more: () => go({ tab: "drift" }) }),
    h("section", { id: "alerts" }, h("h2", {}, "Alerts"), list("model-alerts", firing.slice(0, FIRING), { model: false }),
      firing.length > FIRING ? h("p", {}, h("a", { href: `#/alerts?${new URLSearchParams({ model: seen.model.model, status: "firing" })}` }, `All ${number(firing.length)} that fire`)) : null,
      past.length ? h("details", { id: "past-alerts" }, h("summary", {}, `${number(past.length)} that have ended`), list("model-past-alerts", past.slice(0, PAST), { model: false })) : null),
  ];
}
