// The one door to /api/v1. Problem details (RFC 9457) become ApiProblem; a token, if any, lives as long as the tab.

const ROOT = "/api/v1";
const STORED = "groundwatch.token";

/** An answer that is not the one asked for, with what the server says can be done about it. */
export class ApiProblem extends Error {
  constructor(status, body = {}) {
    super(body.detail || body.title || `HTTP ${status}`);
    this.status = status;
    this.type = body.type ?? "";
    this.title = body.title ?? "";
    this.detail = body.detail ?? "";
    this.remedy = body.remedy ?? "";
    this.retryAfter = body.retryAfter ?? null;
  }
}

/** The token of this tab, or null. */
export const token = () => sessionStorage.getItem(STORED);

/** Keep or forget the token. */
export function setToken(value) {
  if (value) sessionStorage.setItem(STORED, value);
  else sessionStorage.removeItem(STORED);
}

/** Headers of every request. */
export function headers(extra = {}) {
  return token() ? { ...extra, Authorization: `Bearer ${token()}` } : extra;
}

async function request(method, address, body, signal) {
  let response;
  try {
    response = await fetch(address, {
      method, signal, credentials: "omit",
      headers: headers({ Accept: "application/json", ...(body ? { "Content-Type": "application/json" } : {}) }),
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiProblem(0, { type: "urn:groundwatch:problem:unreachable" });
  }
  if (response.status === 204) return null;
  const parsed = await response.json().catch(() => null);
  if (!response.ok) throw new ApiProblem(response.status, { ...(parsed ?? {}), retryAfter: response.headers.get("Retry-After") });
  if (parsed === null) throw new ApiProblem(response.status, { title: "not JSON" });
  return parsed;
}

/** The address of `path` with `params`; null and undefined ones are left out, arrays are repeated. */
export function address(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== null && one !== undefined) query.append(name, one);
  }
  const text = query.toString();
  return `${ROOT}${path}${text ? `?${text}` : ""}`;
}

/** GET one object. */
export const get = (path, params, signal) => request("GET", address(path, params), null, signal);

/** POST a JSON body. */
export const post = (path, body) => request("POST", address(path), body);

/** PUT a JSON body. */
export const put = (path, body) => request("PUT", address(path), body);

/** PATCH with a JSON body. */
export const patch = (path, body) => request("PATCH", address(path), body);

/** DELETE what a path names, with a JSON body of what a person says about it, if anything. */
export const remove = (path, body) => request("DELETE", address(path), body);

/** POST a file as it is; JSON is sent as plain bytes too, for the server would read it as a message otherwise. */
export async function upload(path, params, file) {
  const kind = !file.type || file.type.includes("json") ? "application/octet-stream" : file.type;
  return answerOf(() => fetch(address(path, params), { method: "POST", credentials: "omit", headers: headers({ Accept: "application/json", "Content-Type": kind }), body: file }), (response) => response.json());
}

/** GET a file and hand it to the browser under `name`; a plain link could not carry the token. */
export async function download(path, params, name) {
  const content = await answerOf(() => fetch(address(path, params), { credentials: "omit", headers: headers() }), (response) => response.blob());
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

async function answerOf(ask, read) {
  const response = await ask().catch(() => { throw new ApiProblem(0, { type: "urn:groundwatch:problem:unreachable" }); });
  if (!response.ok) throw new ApiProblem(response.status, await response.json().catch(() => ({})));
  return read(response);
}

/** GET every page of a list, up to `most` items; the server refuses parameters that it does not know, so nothing is added here. */
export async function list(path, params, { most = 20000, signal } = {}) {
  const items = [];
  let next = address(path, params);
  let extra = {};
  while (next && items.length < most) {
    const page = await request("GET", next, null, signal);
    items.push(...page.items);
    extra = page;
    // Only the path counts: behind a proxy the server may not know by which name it was called.
    const following = page.next ? new URL(page.next, location.origin) : null;
    next = following ? following.pathname + following.search : null;
  }
  return { ...extra, items };
}

/** The path of a code that may hold any letter. */
export const code = encodeURIComponent;
