// Stations of one site lie on one another: the worst keeps its place, the others step aside as little as they must.

const RINGS = [[0, 1], [19, 8], [36, 14], [54, 20], [72, 26]]; // radius in pixels, places on it
const LEAST = 17; // pixels between two symbols

/** Places in pixels for wanted places in pixels; the earlier in the list, the better its right to its own place. */
export function spread(wanted) {
  const taken = [];
  return wanted.map(({ x, y }) => {
    const free = places(x, y).find((place) => taken.every((other) => Math.hypot(other.x - place.x, other.y - place.y) >= LEAST)) ?? { x, y };
    taken.push(free);
    return free;
  });
}

function places(x, y) {
  return RINGS.flatMap(([radius, count]) => Array.from({ length: count }, (_, i) => {
    const angle = (2 * Math.PI * i) / count;
    return { x: x + radius * Math.cos(angle), y: y + radius * Math.sin(angle) };
  }));
}
