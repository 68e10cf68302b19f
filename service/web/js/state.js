// What the page knows, and the words for the state of a station. One object, no framework.

/** Colours from worst to mildest. */
export const LEVELS = ["red", "orange", "yellow", "blue"];

/** What the page shows now. Only app.js assigns to it. */
export const state = {
  node: null, me: null, summary: null, stations: [], alerts: [], silent: null, rules: new Map(), regions: new Map(),
  levelFilter: null, alertsState: "firing", selected: null, clockSkew: 0,
};

/** The server's idea of now, in milliseconds. */
export const now = () => Date.now() + state.clockSkew;

/** One word for a station: worst alert, else silent, else ok, else unknown. Unknown is never ok. */
export function stationState(station) {
  if (station.level > 0) return station.level_word;
  if (station.silent) return "silent";
  return station.last_time ? "ok" : "unknown";
}

/** The station with `code`, or null. */
export const stationOf = (code) => state.stations.find((station) => station.code === code) ?? null;

/** May the person who is logged in do this? */
export const may = (permission) => Boolean(state.me?.permissions?.includes(permission));
