// Lines of longitude and latitude with their degrees: what a map is when there is no base layer.
import { h } from "./dom.js";

const L = globalThis.L;
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10];

/** Draw a graticule that follows the view. */
export function addGraticule(map) {
  const lines = L.layerGroup().addTo(map);
  const draw = () => {
    lines.clearLayers();
    const bounds = map.getBounds();
    const width = bounds.getEast() - bounds.getWest();
    const step = STEPS.find((one) => width / one <= 7) ?? 20;
    for (const lon of multiples(bounds.getWest(), bounds.getEast(), step)) {
      add(lines, [[bounds.getSouth(), lon], [bounds.getNorth(), lon]], [bounds.getNorth(), lon], `${degrees(lon)}${lon < 0 ? "W" : "E"}`, "top");
    }
    for (const lat of multiples(bounds.getSouth(), bounds.getNorth(), step)) {
      add(lines, [[lat, bounds.getWest()], [lat, bounds.getEast()]], [lat, bounds.getEast()], `${degrees(lat)}${lat < 0 ? "S" : "N"}`, "side");
    }
  };
  map.on("moveend", draw);
  draw();
}

const degrees = (value) => `${Number(Math.abs(value).toFixed(2))}°`;

function multiples(low, high, step) {
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k += 1) found.push(k * step);
  return found;
}

function add(lines, path, at, text, edge) {
  L.polyline(path, { interactive: false, className: "base base-graticule", weight: 1 }).addTo(lines);
  const icon = L.divIcon({ className: `degrees degrees-${edge}`, html: h("span", {}, text), iconSize: null });
  L.marker(at, { icon, interactive: false, keyboard: false, zIndexOffset: -2000 }).addTo(lines);
}
