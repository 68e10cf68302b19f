// What is drawn over the line: events, findings, flags and limits. Shapes differ, so colour is never the only sign.
import { word } from "./i18n.js";
import { number, unitText } from "./format.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A uPlot plugin that draws `marks()`: {events, findings, flagged, limits, curve, unit} and tells what it drew. */
export function marksPlugin(marks, onDrawn) {
  return {
    hooks: {
      drawClear: [(u) => drawForecastGround(u, marks().curve)],
      draw: [(u) => {
        const now = marks();
        const ratio = devicePixelRatio || 1;
        u.ctx.save();
        u.ctx.beginPath();
        u.ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
        u.ctx.clip();
        u.ctx.font = `${11 * ratio}px ${css("--font")}`;
        drawLimits(u, now, ratio);
        const shown = drawLines(u, now, ratio);
        drawFlags(u, now.flagged, ratio);
        u.ctx.restore();
        onDrawn(shown);
      }],
    },
  };
}

function drawForecastGround(u, curve) {
  if (!curve || curve.start === Infinity) return;
  const left = Math.max(u.valToPos(curve.start, "x", true), u.bbox.left);
  const right = u.bbox.left + u.bbox.width;
  if (left >= right) return;
  u.ctx.fillStyle = css("--forecast-ground");
  u.ctx.fillRect(left, u.bbox.top, right - left, u.bbox.height);
}

function drawLimits(u, { limits, unit }, ratio) {
  for (const limit of limits) {
    if (limit.unit !== unit) continue;
    const y = u.valToPos(limit.value, "y", true);
    if (y < u.bbox.top || y > u.bbox.top + u.bbox.height) continue;
    u.ctx.strokeStyle = css(`--${limit.level ?? "muted"}`) || css("--muted");
    line(u.ctx, [u.bbox.left, y], [u.bbox.left + u.bbox.width, y], [6 * ratio, 4 * ratio], 1.2 * ratio);
    u.ctx.fillStyle = css("--text");
    u.ctx.textAlign = "right";
    u.ctx.textBaseline = "bottom";
    u.ctx.fillText(`${limit.level ? word("level", limit.level) : limit.code} ${number(limit.value, unit)} ${unitText(unit)}`, u.bbox.left + u.bbox.width - 4 * ratio, y - 3 * ratio);
  }
}

function line(ctx, from, to, dash, width) {
  ctx.setLineDash(dash);
  ctx.lineWidth = width;
  ctx.beginPath();
  ctx.moveTo(...from);
  ctx.lineTo(...to);
  ctx.stroke();
  ctx.setLineDash([]);
}

function drawLines(u, { events, findings }, ratio) {
  const rows = []; // right edge of the last label in each row, so that labels do not lie on one another
  const inside = (time) => time >= u.scales.x.min && time <= u.scales.x.max;
  const entries = [
    ...events.map((event) => ({ ...event, at: Date.parse(event.start) / 1000, until: event.end ? Date.parse(event.end) / 1000 : null, colour: css("--event"), dash: [], text: word("event", event.kind), event: true })),
    ...findings.map((finding) => ({ ...finding, at: Date.parse(finding.start) / 1000, until: finding.end ? Date.parse(finding.end) / 1000 : null, colour: css("--finding"), dash: [2, 3], text: findingText(finding) })),
  ].filter((entry) => inside(entry.at)).sort((a, b) => a.at - b.at);
  for (const entry of entries) drawEntry(u, entry, rows, ratio);
  return { events: entries.filter((entry) => entry.event).length, findings: entries.filter((entry) => !entry.event).length };
}

function findingText(finding) {
  const size = finding.size === null || finding.size === undefined ? "" : ` ${finding.size > 0 ? "+" : ""}${number(finding.size, finding.unit)}`;
  return `${word("finding", finding.kind)}${size}`;
}

function drawEntry(u, entry, rows, ratio) {
  const { ctx, bbox } = u;
  const x = u.valToPos(entry.at, "x", true);
  ctx.strokeStyle = entry.colour;
  ctx.fillStyle = entry.colour;
  if (entry.until && entry.until > entry.at) {
    const end = Math.min(u.valToPos(entry.until, "x", true), bbox.left + bbox.width);
    ctx.globalAlpha = 0.1;
    ctx.fillRect(x, bbox.top, end - x, bbox.height);
    ctx.globalAlpha = 1;
  }
  const small = entry.kind === "spike";
  if (small) triangleDown(ctx, x, bbox.top + 5 * ratio, 4 * ratio);
  else line(ctx, [x, bbox.top], [x, bbox.top + bbox.height], entry.dash.map((one) => one * ratio), (entry.event ? 1.4 : 1.6) * ratio);
  const width = ctx.measureText(entry.text).width + 10 * ratio;
  let row = rows.findIndex((edge) => edge < x);
  if (row < 0) row = rows.length;
  if (row > 2) return;
  rows[row] = x + width;
  const top = bbox.top + (14 + row * 16) * ratio;
  const flip = x + width > bbox.left + bbox.width;
  ctx.textAlign = flip ? "right" : "left";
  ctx.textBaseline = "top";
  const at = x + (flip ? -5 : 5) * ratio;
  ctx.lineWidth = 3 * ratio;
  ctx.strokeStyle = css("--surface");
  ctx.strokeText(entry.text, at, top);
  ctx.fillText(entry.text, at, top);
  ctx.textBaseline = "alphabetic";
}

function drawFlags(u, flagged, ratio) {
  const { ctx, bbox } = u;
  ctx.lineWidth = 1.8 * ratio;
  const clampY = (y) => Math.min(Math.max(y, bbox.top + 6 * ratio), bbox.top + bbox.height - 6 * ratio);
  ctx.strokeStyle = css("--suspect");
  ctx.fillStyle = css("--surface");
  for (const point of flagged.suspect) {
    triangleUp(ctx, u.valToPos(point.time, "x", true), clampY(u.valToPos(point.value, "y", true)), 5 * ratio);
  }
  ctx.strokeStyle = css("--fail");
  for (const point of flagged.fail) {
    cross(ctx, u.valToPos(point.time, "x", true), clampY(u.valToPos(point.value, "y", true)), 4 * ratio);
  }
}

function triangleUp(ctx, x, y, r) {
  ctx.beginPath();
  ctx.moveTo(x, y - r);
  ctx.lineTo(x + r, y + r * 0.8);
  ctx.lineTo(x - r, y + r * 0.8);
  ctx.closePath();
  ctx.fill();
  ctx.stroke();
}

function triangleDown(ctx, x, y, r) {
  ctx.beginPath();
  ctx.moveTo(x, y + r);
  ctx.lineTo(x + r, y - r);
  ctx.lineTo(x - r, y - r);
  ctx.closePath();
  ctx.fill();
}

function cross(ctx, x, y, r) {
  ctx.beginPath();
  ctx.moveTo(x - r, y - r);
  ctx.lineTo(x + r, y + r);
  ctx.moveTo(x + r, y - r);
  ctx.lineTo(x - r, y + r);
  ctx.stroke();
}
