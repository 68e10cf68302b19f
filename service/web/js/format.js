// Numbers, units and times as people read them. An unknown value is a dash, never 0.
import { language, t, word } from "./i18n.js";

const DECIMALS = { m: 3, mm: 1, cm: 2, "mm/a": 1, "m/a": 3, Cel: 1, "m3": 0, "m3/h": 1, "m3/d": 0, "m3/a": 0, "%": 1, V: 2, hPa: 1, kPa: 2, "1": 3 };
const PRETTY = { Cel: "°C", K: "K", "1": "", "Cel/a": "°C/a", "[pH]": "pH", deg: "°" };
let zone = "Asia/Shanghai";

/** Use the node's time zone for everything that is shown. */
export function useZone(name) {
  if (name) zone = name;
}

/** The time zone in use. */
export const shownZone = () => zone;

/** A UCUM code as people write it: m3/h becomes m³/h, Cel becomes °C. */
export function unitText(unit) {
  if (!unit) return "";
  if (unit in PRETTY) return PRETTY[unit];
  return unit.replace(/([a-zA-Z])([23])(?![0-9])/g, (_, letter, power) => letter + (power === "2" ? "²" : "³")).replaceAll(".", "·");
}

/** How many decimals a value of `unit` is shown with. */
export const decimalsOf = (unit) => DECIMALS[unit] ?? 2;

/** A number with the true minus sign and the decimals of its unit, without the unit. */
export function number(value, unit, decimals = decimalsOf(unit)) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "—";
  const text = Math.abs(value) >= 1e4
    ? value.toLocaleString("en-US", { minimumFractionDigits: 0, maximumFractionDigits: Math.abs(value) >= 1e6 ? 0 : decimals })
    : value.toFixed(decimals);
  return (/^-0\.?0*$/.test(text) ? text.slice(1) : text).replace("-", "−");
}

/** `30.5213°N 115.2582°W`; with two decimals where the server rounded the position, which says nothing of the others. */
export function position({ latitude_deg: latitude, longitude_deg: longitude }) {
  const rounded = [latitude, longitude].every((angle) => Math.abs(angle * 100 - Math.round(angle * 100)) < 1e-6);
  const angle = (value, positive, negative) => `${Math.abs(value).toFixed(rounded ? 2 : 4)}°${value < 0 ? negative : positive}`;
  return `${angle(latitude, "N", "S")} ${angle(longitude, "E", "W")}`;
}

/** A number and its unit, joined by a no-break space. */
export function quantity(value, unit, decimals) {
  const text = number(value, unit, decimals);
  return text === "—" || !unitText(unit) ? text : `${text}\u00a0${unitText(unit)}`;
}

function partsOf(time) {
  const format = new Intl.DateTimeFormat("en-CA", {
    timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });
  return Object.fromEntries(format.formatToParts(new Date(time)).map((part) => [part.type, part.value]));
}

/** `2026-01-02 08:30` in the node's zone. */
export function dateTime(time) {
  if (!time) return "—";
  const p = partsOf(time);
  return `${p.year}-${p.month}-${p.day} ${p.hour}:${p.minute}`;
}

/** `2026-01-02` in the node's zone. */
export function day(time) {
  if (!time) return "—";
  const p = partsOf(time);
  return `${p.year}-${p.month}-${p.day}`;
}

/** Parts of a time in the node's zone, for axes. */
export const zonedParts = partsOf;

/** `UTC+08` for the node's zone at `time`. */
export function offsetText(time = Date.now()) {
  const name = new Intl.DateTimeFormat("en-US", { timeZone: zone, timeZoneName: "longOffset" })
    .formatToParts(new Date(time)).find((part) => part.type === "timeZoneName")?.value ?? "GMT";
  const match = /GMT([+-])(\d\d):(\d\d)/.exec(name);
  if (!match) return "UTC";
  return `UTC${match[1]}${match[2]}${match[3] === "00" ? "" : `:${match[3]}`}`;
}

/** A time as a date field gives it (`2026-01-02T08:30`), which is the node's, with its offset. */
export function withOffset(local) {
  const offset = offsetText(Date.parse(`${local}Z`)).slice(3) || "+00";
  return `${local}${offset.includes(":") ? offset : `${offset}:00`}`;
}

/** A span in words: 3 days, 5 小时. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "—";
  const steps = [["year", 31556952], ["day", 86400], ["hour", 3600], ["minute", 60]];
  for (const [name, size] of steps) {
    if (seconds >= size * (name === "year" ? 2 : 1)) {
      const count = Math.floor(seconds / size);
      return t(count === 1 ? `span.${name}.one` : `span.${name}`, { n: count });
    }
  }
  return t("span.moment");
}

/** How long ago, in words. */
export function ago(time, now) {
  if (!time) return t("never");
  const seconds = (now - new Date(time).getTime()) / 1000;
  return seconds < 60 ? t("just_now") : t("ago", { span: span(seconds) });
}

/** Brackets of the language in use. */
export const bracketed = (text) => (language() === "zh" ? `（${text}）` : ` (${text})`);

/** Which way is positive, in the language in use; an unknown wording is shown as it was configured. */
export function directionText(direction) {
  if (!direction) return "";
  const stem = String(direction).split(" positive")[0].trim().toLowerCase();
  const known = word("direction", stem);
  if (known !== stem) return known;
  if (language() === "en") return direction;
  return `正方向：${direction}`;
}
