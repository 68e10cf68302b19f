// The links between the pages of the dashboard, the same in every header. A new page adds one line to PAGES.
import { byId, fill, h } from "./dom.js";
import { t } from "./i18n.js";

/** Every page: its address and the key of its name. */
export const PAGES = [
  { path: "/", key: "nav.overview" },
  { path: "/cases", key: "nav.cases" },
  { path: "/alarm-quality", key: "nav.quality" },
  { path: "/instruments", key: "nav.instruments" },
];

/** Draw the links into `<nav id="nav">`; the page that is open is marked for eyes and for screen readers. */
export function drawNav(current = location.pathname) {
  const nav = byId("nav");
  nav.setAttribute("aria-label", t("nav.label"));
  fill(nav, PAGES.map(({ path, key }) => h("a", { href: path, "aria-current": path === current ? "page" : null }, t(key))));
}
