import { get } from "../api.js";
import { h } from "../dom.js";
export const title = () => "alerts";
export async function draw() { return [h("h1", {}, "alerts")]; }
