// Loading, nothing there, and what went wrong with what can be done about it.
import { h } from "./dom.js";
import { t } from "./i18n.js";

/** "Loading" in place of a list. */
export const loading = () => h("p", { class: "state state-loading", role: "status" }, t("loading"));

/** "Nothing here" with a sentence on what that means. */
export const nothing = (...text) => h("p", { class: "state state-empty" }, ...text);

/** A problem in the reader's language, the server's own words after it, the remedy and a way to try again. */
export function failure(problem, retry) {
  return h("div", { class: "state state-error", role: "alert" },
    h("strong", {}, headline(problem)),
    problem.detail ? h("p", {}, problem.detail) : null,
    h("p", { class: "remedy" }, `${t("remedy")}${problem.remedy || remedyFor(problem)}`),
    retry ? h("button", { type: "button", on: { click: retry } }, t("retry")) : null);
}

/** One line for a problem. */
export function headline(problem) {
  if (problem.status === undefined) return t("problem.page");
  if (problem.status === 0) return t("problem.unreachable");
  const known = { 401: "login", 403: "forbidden", 404: "gone", 409: "conflict", 429: "slow", 503: "unavailable" }[problem.status];
  return known ? t(`problem.${known}`) : problem.title || `HTTP ${problem.status}`;
}

function remedyFor(problem) {
  const known = { 0: "network", 401: "login", 403: "forbidden", 429: "wait", 503: "wait" }[problem.status];
  return t(`remedy.${known ?? "operator"}`);
}
