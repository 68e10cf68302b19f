// From the answers of the API to the arrays that the chart draws. No drawing here, so it can be read on its own.
import { code, get, list } from "./api.js";

const POINTS = 4000;
const SUSPECT = 3;
const FAIL = 4;
const MISSING = 9;
const SHOWN_KINDS = new Set(["gap"]); // gaps are seen already: the line is not drawn there

const seconds = (time) => Date.parse(time) / 1000;
const iso = (time) => new Date(time * 1000).toISOString();

/** Observations of a datastream between two times (seconds; null = whole record), as fine as `POINTS` allows. */
export async function loadObservations(stream, from, to, signal) {
  const answer = await get("/observations", {
    datastream: stream.code, resolution: "auto", points: POINTS, limit: 10000, columns: "true",
    from: from === null ? null : iso(from), to: to === null ? null : iso(to),
  }, signal);
  return answer.resolution === "raw" ? fromRaw(answer, stream) : fromBuckets(answer, stream);
}

/** What goes with it: fitted curve, limits, findings, for the whole record. */
export async function loadAnalysis(stream, signal) {
  const [results, findings] = await Promise.all([
    get(`/datastreams/${code(stream.code)}/results`, { points: 400 }, signal).catch(quiet),
    list("/findings", { datastream: stream.code, limit: 500 }, { most: 1000, signal }).catch(quiet),
  ]);
  return { results, findings: (findings?.items ?? []).filter((finding) => !SHOWN_KINDS.has(finding.kind)) };
}

function quiet(problem) {
  if (problem.name === "AbortError") throw problem;
  return null; // the observations are worth showing without it; the legend says that there is no fit
}

function columnsOf(answer, names) {
  const columns = answer.columns ?? Object.fromEntries(names.map((name) => [name, (answer.items ?? []).map((item) => item[name] ?? null)]));
  return { ...columns, time: (columns[names[0]] ?? []).map(seconds) };
}

function fromRaw(answer, stream) {
  const c = columnsOf(answer, ["phenomenon_time", "result", "quality", "sigma", "quality_reasons"]);
  const flagged = { suspect: [], fail: [], missing: 0 };
  const value = c.time.map((time, i) => {
    const quality = c.quality?.[i] ?? 2;
    const result = c.result[i];
    if (quality === MISSING || result === null || result === undefined) {
      flagged.missing += 1;
      return null;
    }
    if (quality === SUSPECT || quality === FAIL) {
      (quality === SUSPECT ? flagged.suspect : flagged.fail).push({ time, value: result, reasons: c.quality_reasons?.[i] ?? [] });
      return undefined; // a flagged value is marked beside the line; the line goes past it, it is not a gap
    }
    return result;
  });
  const broken = breakAtGaps(c.time, [value], gapLimits(c.time, stream.interval_s));
  return {
    resolution: "raw", raw: c, time: broken.time, value: broken.columns[0], low: null, high: null,
    gaps: broken.gaps, flagged, points: value.filter((one) => one !== null && one !== undefined).length, asOf: answer.as_of,
    from: answer.from, to: answer.to, partial: Boolean(answer.next),
  };
}

function fromBuckets(answer, stream) {
  const c = columnsOf(answer, ["start", "n", "mean", "min", "max", "sum", "first", "last"]);
  const total = stream.value_kind === "total";
  const value = { total: c.sum, totaliser: c.last }[stream.value_kind] ?? c.mean;
  const size = { "1h": 3600, "1d": 86400, "1mo": 31 * 86400 }[answer.resolution] ?? 86400;
  const limits = gapLimits(c.time, Math.max(size, stream.interval_s ?? 0)).map((limit) => Math.max(limit, 1.6 * size));
  const broken = breakAtGaps(c.time, total ? [value] : [value, c.min, c.max], limits);
  return {
    resolution: answer.resolution, raw: null, time: broken.time, value: broken.columns[0], low: broken.columns[1] ?? null, high: broken.columns[2] ?? null,
    gaps: broken.gaps, flagged: { suspect: [], fail: [], missing: 0 }, points: c.time.length, asOf: answer.as_of,
    from: answer.from, to: answer.to, partial: Boolean(answer.next), total,
  };
}

const NEIGHBOURS = 8;

/**
 * How far apart two samples may be and still be joined, for each step of `time`: 2.5 times the declared interval (6 times the usual spacing
 * where none is declared), and never less than that for the spacing around it: a logger that was read daily for years has no gaps there.
 */
export function gapLimits(time, interval) {
  const steps = time.slice(1).map((one, i) => one - time[i]);
  return steps.map((_, i) => {
    const around = steps.slice(Math.max(0, i - NEIGHBOURS), i + NEIGHBOURS + 1).sort((a, b) => a - b);
    const usual = around[Math.floor(around.length / 2)];
    if (steps.length < 3) return interval ? Math.max(2.5 * interval, usual) : Infinity;
    return interval ? 2.5 * Math.max(interval, usual) : 6 * usual;
  });
}

/** Put a null between two samples that are further apart than the limit of their step, so that a gap is not bridged. */
export function breakAtGaps(time, columns, limits) {
  const out = { time: [], columns: columns.map(() => []), gaps: 0 };
  time.forEach((one, i) => {
    if (i > 0 && one - time[i - 1] > limits[i - 1]) {
      out.gaps += 1;
      out.time.push((time[i - 1] + one) / 2);
      out.columns.forEach((column) => column.push(null));
    }
    out.time.push(one);
    out.columns.forEach((column, k) => column.push(columns[k]?.[i]));
  });
  return out;
}

/** The fitted curve and its band, split where the forecast begins. */
export function curveOf(results) {
  const curve = results?.curve;
  if (!curve?.time?.length) return null;
  const time = curve.time.map(seconds);
  const start = curve.forecast_from ? seconds(curve.forecast_from) : Infinity;
  const last = time.filter((one) => one <= start).length - 1;
  return {
    time, start, level: curve.level ?? 0.95, lower: curve.lower ?? [], upper: curve.upper ?? [],
    trend: curve.trend ?? [],
    fitted: curve.fitted.map((one, i) => (i <= last ? one : null)),
    forecast: curve.fitted.map((one, i) => (i >= Math.max(last, 0) && start < Infinity ? one : null)),
  };
}

/** Values that a fact of the record had before it was corrected. */
export const loadRevisions = (stream, time) => get(`/datastreams/${code(stream.code)}/revisions`, { time });
