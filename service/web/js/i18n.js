// Chinese first, English beside it. Words live in i18n/*.json; both files have the same keys (a test holds them to it).

const STORED = "groundwatch.language";
const LANGUAGES = ["zh", "en"];
let words = {};
let current = "zh";

/** The language now in use: "zh" or "en". */
export const language = () => current;

/** The language that was chosen before, else the browser's, else Chinese. */
export function preferredLanguage() {
  const stored = localStorage.getItem(STORED);
  if (LANGUAGES.includes(stored)) return stored;
  return (navigator.language || "zh").toLowerCase().startsWith("zh") || !navigator.language ? "zh" : "en";
}

/** Load the words of `code`, remember the choice and translate what is in the page already. */
export async function useLanguage(code, { remember = false } = {}) {
  const response = await fetch(`/assets/i18n/${code}.json`);
  if (!response.ok) throw new Error(`i18n/${code}.json: ${response.status}`);
  words = await response.json();
  current = code;
  if (remember) localStorage.setItem(STORED, code);
  document.documentElement.lang = code === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-i18n]")) element.textContent = t(element.dataset.i18n);
  for (const element of document.querySelectorAll("[data-i18n-aria]")) element.setAttribute("aria-label", t(element.dataset.i18nAria));
}

/** The text of `key`, with {name} replaced from `values`. A missing key shows itself, so that it is noticed. */
export function t(key, values = {}) {
  const text = words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** The text of `prefix.code`, or `code` itself where no word is known (codes may be added by configuration). */
export function word(prefix, code) {
  if (code === null || code === undefined) return "—";
  return words[`${prefix}.${code}`] ?? String(code);
}

/** The name of a thing in the language in use, else in the other one, else its code. */
export function nameOf(thing, prefix = "name") {
  const other = current === "zh" ? "en" : "zh";
  return thing?.[`${prefix}_${current}`] || thing?.[`${prefix}_${other}`] || thing?.code || "—";
}

/** The text of a {zh, en} pair. */
export const pick = (pair) => (pair ? pair[current] || pair.zh || pair.en || "" : "");
