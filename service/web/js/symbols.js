// A shape, a letter and a colour for each state, so that no one has to tell colours apart.
import { h } from "./dom.js";
import { word } from "./i18n.js";

const SHAPES = {
  red: "M9 1h10l8 8v10l-8 8H9l-8-8V9z",
  orange: "M14 1.5 27.5 26H.5z",
  yellow: "M14 .5 27.5 14 14 27.5.5 14z",
  blue: "M2.5 2.5h23v23h-23z",
};
const ROUND = { ok: 8, silent: 12, unknown: 11 };

/** The symbol of a state as an svg element of `size` pixels; decorative, the words are beside it. */
export function symbol(kind, size = 22) {
  const shape = SHAPES[kind]
    ? h("path", { d: SHAPES[kind], class: "symbol-shape" })
    : h("circle", { cx: 14, cy: 14, r: ROUND[kind] ?? 9, class: "symbol-shape" });
  const letter = document.createElementNS("http://www.w3.org/2000/svg", "text");
  letter.setAttribute("x", "14");
  letter.setAttribute("y", kind === "orange" ? "23" : "19");
  letter.setAttribute("text-anchor", "middle");
  letter.setAttribute("class", "symbol-letter");
  letter.textContent = kind === "ok" ? "" : word("letter", kind);
  return h("svg", { viewBox: "0 0 28 28", width: size, height: size, class: `symbol symbol-${kind}`, "aria-hidden": "true", focusable: "false" }, shape, letter);
}
