import { get } from "../api.js";
import { h } from "../dom.js";
export const title = () => "alert";
export async function draw() { return [h("h1", {}, "alert")]; }
