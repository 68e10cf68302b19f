// The map of stations. It works with no network at all: the base layer is a file of ours unless the node names another one.
import { byId, fill, h } from "./dom.js";
import { nameOf, t, word } from "./i18n.js";
import { ago } from "./format.js";
import { spread } from "./declutter.js";
import { addGraticule } from "./graticule.js";
import { LEVELS, now, state, stationState } from "./state.js";
import { symbol } from "./symbols.js";

const L = globalThis.L;
const SCHEMATIC = "/assets/base/jiaxing.geojson";
const HOME = { center: [30.72, 120.78], zoom: 10 };
const LEGEND = [...LEVELS, "ok", "silent", "unknown"];
let map = null;
let fitted = false;
let configured = false;
let labels = [];
let base = null;
const markers = new Map();

/** Build the map and its base layer from `node.map`; a base layer that does not load is said, the stations stay. */
export async function startMap({ onSelect }) {
  const settings = state.node?.map ?? {};
  map = L.map(byId("map"), { zoomSnap: 0.25, minZoom: 6, maxZoom: 18, attributionControl: true, scrollWheelZoom: true });
  map.attributionControl.setPrefix(false);
  map.setView(settings.center ?? HOME.center, settings.zoom ?? HOME.zoom);
  configured = Boolean(settings.center);
  map.on("zoomend", () => {
    showLabels();
    arrange();
  });
  map.select = onSelect;
  L.control.scale({ imperial: false }).addTo(map);
  new ResizeObserver(() => map.invalidateSize()).observe(byId("map"));
  await drawBase(settings);
  drawMapWords();
}

async function drawBase(settings) {
  const kind = settings.base ?? (settings.tile_url ? "tiles" : settings.boundary || settings.geojson_url ? "geojson" : "schematic");
  byId("map").dataset.base = kind;
  try {
    if (kind === "tiles") addTiles(settings);
    else if (kind === "schematic") await addSchematic();
    else if (kind === "none") addGraticule(map);
    else if (kind === "geojson") addDrawing(settings.boundary ?? await fetchJson(settings.geojson_url), "boundary");
    if (kind === "tiles" && settings.boundary) addDrawing(settings.boundary, "outline");
  } catch {
    byId("map").dataset.base = "failed";
    addGraticule(map);
    map.attributionControl.addAttribution(escaped(t("base_failed")));
  }
}

/** The drawing that is shipped is of one city; any other gets a graticule until it configures its own. */
async function addSchematic() {
  const drawing = await fetchJson(SCHEMATIC);
  if ((state.node.region_code ?? "").startsWith(drawing.metadata.region_prefix)) return addDrawing(drawing, "schematic");
  byId("map").dataset.base = "none";
  return addGraticule(map);
}

async function fetchJson(address) {
  const response = await fetch(address, { credentials: "omit" });
  if (!response.ok) throw new Error(String(response.status));
  return response.json();
}

// Leaflet writes attributions as HTML, so what comes from settings is escaped first.
const escaped = (text) => h("i", {}, text).innerHTML;

function addTiles(settings) {
  const attribution = settings.tile_attribution ? escaped(settings.tile_attribution) : "";
  L.tileLayer(settings.tile_url, { attribution, maxZoom: 18 }).addTo(map);
}

function addDrawing(drawing, use) {
  base = { drawing, use };
  L.geoJSON(drawing, {
    interactive: false,
    filter: (feature) => feature.geometry?.type !== "Point",
    style: (feature) => ({ className: `base base-${feature.properties?.kind ?? use}`, weight: 1 }),
  }).addTo(map).bringToBack();
}

/** Draw again what carries words: place names, legend, attribution, tooltips. */
export function drawMapWords() {
  for (const label of labels) label.marker.remove();
  labels = [];
  for (const feature of base?.drawing.features ?? []) {
    const at = feature.geometry.type === "Point" ? feature.geometry.coordinates : feature.properties?.label;
    if (!at || !feature.properties) continue;
    const rank = feature.properties.rank ?? 2;
    const icon = L.divIcon({ className: `place place-${feature.properties.kind} place-rank-${rank}`, html: h("span", {}, nameOf(feature.properties)), iconSize: null });
    labels.push({ rank, marker: L.marker([at[1], at[0]], { icon, interactive: false, keyboard: false, zIndexOffset: -1000 }) });
  }
  showLabels();
  if (base?.use === "schematic") {
    map.attributionControl.removeAttribution(escaped(byId("map").dataset.note ?? ""));
    byId("map").dataset.note = t("schematic");
    map.attributionControl.addAttribution(escaped(t("schematic")));
  }
  fill(byId("map-legend"), LEGEND.map((kind) => h("li", {}, symbol(kind, 16), word("station_state", kind))));
  for (const entry of markers.values()) entry.key = null;
  drawStations();
}

function showLabels() {
  const rank = map.getZoom() >= 10.5 ? 3 : map.getZoom() >= 8 ? 2 : 1;
  for (const label of labels) {
    if (label.rank <= rank) label.marker.addTo(map);
    else label.marker.remove();
  }
}

/** Put every station that has a position on the map, the worst ones on top. */
export function drawStations() {
  if (!map) return;
  const placed = state.stations.filter((station) => station.longitude_deg !== null && station.longitude_deg !== undefined);
  const seen = new Set(placed.map((station) => station.code));
  for (const [code, entry] of markers) {
    if (!seen.has(code)) {
      entry.marker.remove();
      markers.delete(code);
    }
  }
  for (const station of placed) place(station);
  byId("map").dataset.stations = String(placed.length);
  byId("map").dataset.unplaced = String(state.stations.length - placed.length);
  arrange();
  if (!fitted && placed.length) {
    fitted = true;
    const bounds = L.latLngBounds(placed.map((s) => [s.latitude_deg, s.longitude_deg]));
    // a configured view is kept where it shows every station; on a small screen it may not
    if (!configured || !map.getBounds().contains(bounds)) map.fitBounds(bounds.pad(0.08), { maxZoom: 13, animate: false });
  }
}

/** Move symbols apart that would lie on one another at this zoom. */
function arrange() {
  const placed = state.stations.filter((station) => markers.has(station.code))
    .sort((a, b) => b.level - a.level || Number(b.silent) - Number(a.silent) || a.code.localeCompare(b.code));
  const wanted = placed.map((station) => map.project([station.latitude_deg, station.longitude_deg]));
  spread(wanted).forEach((point, i) => markers.get(placed[i].code).marker.setLatLng(map.unproject([point.x, point.y])));
}

function place(station) {
  const kind = stationState(station);
  const chosen = state.selected === station.code;
  const key = [kind, chosen, station.silent, station.latitude_deg, station.longitude_deg, nameOf(station)].join("|");
  const entry = markers.get(station.code) ?? { marker: null, key: null };
  if (entry.key === key) return;
  entry.key = key;
  const icon = L.divIcon({
    className: `station-marker${chosen ? " is-chosen" : ""}${station.silent && station.level > 0 ? " is-silent-too" : ""}`,
    html: symbol(kind, station.level > 0 ? 26 : 20), iconSize: [28, 28], iconAnchor: [14, 14],
  });
  const words = `${nameOf(station)} · ${word("station_state", kind)}`;
  if (entry.marker) entry.marker.setIcon(icon);
  else {
    entry.marker = L.marker([station.latitude_deg, station.longitude_deg], { icon, alt: words, keyboard: true, riseOnHover: true })
      .on("click", () => map.select(station.code))
      .on("keydown", ({ originalEvent: event }) => pressed(event, station.code))
      .bindTooltip(() => tooltip(station.code), { direction: "top", offset: [0, -10] })
      .addTo(map);
    markers.set(station.code, entry);
  }
  entry.marker.setZIndexOffset((chosen ? 4000 : 0) + station.level * 500);
  const element = entry.marker.getElement();
  element.dataset.station = station.code;
  element.dataset.state = kind;
  element.setAttribute("role", "button");
  element.setAttribute("aria-label", words);
  element.title = "";
}

function pressed(event, code) {
  if (event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  map.select(code);
}

function tooltip(code) {
  const station = state.stations.find((one) => one.code === code);
  if (!station) return "";
  return h("div", {},
    h("strong", {}, nameOf(station)), h("br"),
    `${word("kind", station.kind)} · ${word("station_state", stationState(station))}`, h("br"),
    t("last_seen", { time: ago(station.last_time, now()) }));
}

/** Bring a station into view. */
export function showStation(station) {
  if (!map || station.longitude_deg === null || station.longitude_deg === undefined) return;
  const at = [station.latitude_deg, station.longitude_deg];
  if (!map.getBounds().pad(-0.1).contains(at)) map.panTo(at);
}
