// The dialogs that need a person: log in, acknowledge, confirm or reject.
import { post, setToken } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { t } from "./i18n.js";
import { headline } from "./messages.js";

/** Show a form in the dialog; `submit(data)` may throw a problem, which is shown. Resolves to its result, or null when closed. */
export function ask({ title, body = [], fields, action, submit, extra = null }) {
  const dialog = byId("dialog");
  return new Promise((resolve) => {
    let result = null;
    const error = h("p", { class: "form-error", role: "alert", id: "dialog-error" });
    const button = h("button", { type: "submit", class: "primary" }, action);
    const form = h("form", { method: "dialog", novalidate: true },
      h("h2", { id: "dialog-title" }, title), body, fields.map(fieldOf), error,
      h("div", { class: "form-actions" },
        h("button", { type: "button", on: { click: () => dialog.close() } }, t("cancel")), button));
    if (extra) error.before(h("div", { class: "form-extra" }, extra(form)));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const missing = [...form.elements].find((element) => element.required && !String(element.value).trim());
      if (missing) {
        fill(error, t("form.required"));
        missing.focus();
        return;
      }
      button.disabled = true;
      try {
        result = await submit(Object.fromEntries(new FormData(form)));
        dialog.close();
      } catch (problem) {
        fill(error, [headline(problem), problem.detail, problem.remedy].filter(Boolean).join(" · "));
      } finally {
        button.disabled = false;
      }
    });
    fill(dialog, form);
    dialog.addEventListener("close", () => resolve(result), { once: true });
    if (!dialog.open) dialog.showModal();
    form.querySelector("input, textarea, select")?.focus();
  });
}

/** A field: a text (`rows` for a long one), a choice (`options` of [value, words]), or any other `type` of input; `among` are suggestions. */
function fieldOf({ name, label, type = "text", required = false, autocomplete = "off", rows = 0, hint = null, value = null, most = 1000, options = null, among = null, attributes = {} }) {
  let control;
  if (options) control = h("select", { name, required }, options.map(([code, words]) => h("option", { value: code, selected: code === value }, words)));
  else if (rows) control = h("textarea", { name, rows, required, maxlength: most, spellcheck: rows > 5 ? "false" : null }, value);
  else control = h("input", { name, type, required, autocomplete, maxlength: 200, autocapitalize: "none", spellcheck: "false", value, list: among ? `${name}-list` : null, ...attributes });
  const suggestions = among ? h("datalist", { id: `${name}-list` }, among.map((one) => h("option", { value: one }))) : null;
  return h("label", { class: "field" }, h("span", {}, label, required ? " *" : ""), control, suggestions, hint ? h("small", {}, hint) : null);
}

/** Ask for name and password; returns who is logged in, or null. */
export function login(reason = null) {
  return ask({
    title: t("login"), body: reason ? [h("p", { class: "hint" }, reason)] : [], action: t("login"),
    fields: [
      { name: "name", label: t("account_name"), required: true, autocomplete: "username" },
      { name: "password", label: t("password"), type: "password", required: true, autocomplete: "current-password" },
    ],
    submit: async ({ name, password }) => {
      const answer = await post("/login", { name: name.trim(), password }).catch((problem) => {
        if (problem.status === 401) problem.detail = t("login_wrong");
        throw problem;
      });
      setToken(answer.token);
      return answer;
    },
  });
}
