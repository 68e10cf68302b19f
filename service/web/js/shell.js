// What the pages beside the overview share: language, the node's name, who is logged in, problems. app.js does the same with its map.
import { ApiProblem, get, post, setToken, token } from "./api.js";
import { byId, fill } from "./dom.js";
import { language, nameOf, preferredLanguage, t, useLanguage, word } from "./i18n.js";
import { bracketed, dateTime, offsetText, useZone } from "./format.js";
import { login } from "./login.js";
import { failure } from "./messages.js";
import { drawNav } from "./nav.js";
import { may, now, state } from "./state.js";

let page = null;

/**
 * Start a page: `load` reads and draws (again after a change of person), `draw` draws anew (in another language),
 * `needs` is the permission without which the page shows nothing, `title` the key of its name.
 */
export async function startPage({ load, draw, needs, title }) {
  page = { load, draw, needs, title };
  await useLanguage(preferredLanguage());
  byId("language").addEventListener("click", switchLanguage);
  byId("account").addEventListener("click", accountPressed);
  drawWords();
  setInterval(drawClock, 15000);
  await start();
}

async function start() {
  hideProblem();
  try {
    const asked = Date.now();
    state.node = await get("/node");
    state.clockSkew = state.node.now ? Date.parse(state.node.now) - (asked + Date.now()) / 2 : 0;
    useZone(state.node.zone);
    drawNode();
    state.me = await get("/me").catch(forgetStaleToken);
    drawAccount();
    drawClock();
    if (!may(page.needs)) return await refuse();
    await page.load();
    document.body.dataset.ready = "true";
  } catch (problem) {
    if (problem.status === 401) return enter();
    showProblem(problem, start);
  }
  return null;
}

async function forgetStaleToken(problem) {
  if (problem.status !== 401 || !token()) throw problem;
  setToken(null);
  return get("/me");
}

/** A guest is asked to log in; who is logged in and may not is told so. */
function refuse() {
  if (state.me.anonymous) return enter();
  showProblem(new ApiProblem(403, { detail: t("role_may_not", { role: word("role", state.me.role) }) }), () => enter());
  return null;
}

async function enter() {
  showProblem(new ApiProblem(401), () => enter());
  if (await login(t("login_to_read"))) await start();
}

/** Who acts; a person without the permission is asked to log in. Null when nobody may. */
export async function identify(permission) {
  if (!may(permission) || state.me?.anonymous) {
    if (!await login(t("login_to_write"))) return null;
    state.me = await get("/me");
    drawAccount();
    if (!may(permission)) {
      showProblem(new ApiProblem(403, { detail: t("role_may_not", { role: word("role", state.me.role) }) }), hideProblem);
      return null;
    }
  }
  return state.me.display_name || state.me.name;
}

async function accountPressed() {
  if (state.me && !state.me.anonymous) {
    await post("/logout", {}).catch(() => null);
    setToken(null);
    location.reload(); // what only this person may see goes with the person
  } else if (await login()) await start();
}

async function switchLanguage() {
  await useLanguage(language() === "zh" ? "en" : "zh", { remember: true });
  drawWords();
  if (!state.node) return;
  drawNode();
  drawAccount();
  drawClock();
  if (document.body.dataset.ready === "true") page.draw();
}

function drawWords() {
  const other = language() === "zh" ? "en" : "zh";
  const button = byId("language");
  button.textContent = other === "en" ? "English" : "中文";
  button.lang = other;
  drawNav();
}

function drawNode() {
  const { node } = state;
  byId("node-name").textContent = nameOf(node);
  document.title = `${node.simulated ? `[${t("simulated")}] ` : ""}${t(page.title)} · ${nameOf(node)} · GroundWatch`;
  byId("simulated").hidden = !node.simulated;
  byId("version").textContent = `GroundWatch ${node.version ?? ""}`;
}

function drawAccount() {
  const { me } = state;
  const button = byId("account");
  button.textContent = me && !me.anonymous ? `${me.display_name || me.name}${bracketed(word("role", me.role))} · ${t("logout")}` : t("login");
  button.dataset.name = me && !me.anonymous ? me.name : "";
}

function drawClock() {
  byId("clock").textContent = `${dateTime(now())} ${offsetText()}`;
}

/** Show what went wrong over the page, with a way to try again. */
export function showProblem(problem, retry) {
  const box = byId("problem");
  box.hidden = false;
  fill(box, failure(problem, retry));
}

/** Take the problem away. */
export function hideProblem() {
  byId("problem").hidden = true;
}

/** Show anything that a page throws as it shows any other problem. */
export function showSurprises() {
  addEventListener("unhandledrejection", (event) => {
    const { reason } = event;
    if (reason?.name === "AbortError") return;
    showProblem(reason instanceof ApiProblem ? reason : new ApiProblem(undefined, { detail: String(reason?.message ?? reason) }), hideProblem);
  });
}
