// Draws the points that the filters leave, and the frontier of each group among them.
"use strict";
const points = JSON.parse(document.getElementById("points").textContent);
const $ = (id) => document.getElementById(id);
const FILTERS = ["model", "data", "backend", "group"];
const MOST = 300;
const [LEFT, RIGHT, TOP, BOTTOM] = [60, 985, 15, 510];
const backends = [...new Set(points.map((p) => p.backend))].sort();
const colour = (p) => `var(--c${backends.indexOf(p.backend) % 8})`;

function add(parent, name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function frontier(shown) {
  const best = new Map();
  return [...shown].sort((a, b) => a.ms - b.ms || b.map - a.map).filter((p) => {
    if (p.wrong || p.map <= (best.has(p.group) ? best.get(p.group) : -Infinity)) return false;
    best.set(p.group, p.map);
    return true;
  });
}

function ticks(low, high) {
  const step = [1, 2, 5, 10].map((n) => n * 10 ** Math.floor(Math.log10((high - low) / 5))).find((s) => (high - low) / s <= 8);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(+(i * step).toPrecision(6));
  return found;
}

function draw() {
  const wanted = FILTERS.map((name) => [name, $(name).value]).filter(([, value]) => value !== "");
  const shown = points.filter((p) => wanted.every(([name, value]) => p[name] === value));
  const plot = $("plot");
  plot.replaceChildren();
  const best = frontier(shown);
  $("count").textContent = `${shown.length} engines shown, ${shown.filter((p) => p.wrong).length} of them disturbed, ` +
    `${best.length} on a frontier` + (best.length > MOST ? `; the first ${MOST}:` : ":");
  $("rows").replaceChildren();
  if (!shown.length) return;
  const right = 1.05 * Math.max(...shown.map((p) => p.ms));
  let [low, high] = [Math.min(...shown.map((p) => p.map)) - 1, Math.max(...shown.map((p) => p.map)) + 1];
  const x = (ms) => LEFT + (ms / right) * (RIGHT - LEFT);
  const y = (map) => BOTTOM - ((map - low) / (high - low)) * (BOTTOM - TOP);
  for (const t of ticks(0, right)) {
    add(plot, "path", { d: `M${x(t)} ${TOP}V${BOTTOM}`, stroke: "var(--line)" });
    add(plot, "text", { x: x(t), y: BOTTOM + 18, "text-anchor": "middle", "font-size": 13 }, t);
  }
  for (const t of ticks(low, high)) {
    add(plot, "path", { d: `M${LEFT} ${y(t)}H${RIGHT}`, stroke: "var(--line)" });
    add(plot, "text", { x: LEFT - 8, y: y(t) + 4, "text-anchor": "end", "font-size": 13 }, t);
  }
  add(plot, "text", { x: (LEFT + RIGHT) / 2, y: BOTTOM + 40, "text-anchor": "middle", "font-size": 14 }, "Runtime latency, ms (median)");
  add(plot, "text", { x: LEFT, y: TOP - 2, "font-size": 14 }, "mAP");
  const bars = new Map();
  for (const p of shown) {
    let d = "";
    if (p.ms_bounds) d += `M${x(p.ms_bounds[0])} ${y(p.map)}H${x(Math.min(p.ms_bounds[1], right))}`;
    if (p.map_bounds) d += `M${x(p.ms)} ${y(Math.max(p.map_bounds[0], low))}V${y(Math.min(p.map_bounds[1], high))}`;
    bars.set(p.backend, (bars.get(p.backend) || "") + d);
  }
  for (const [backend, d] of bars) add(plot, "path", { d, stroke: colour({ backend }), fill: "none", opacity: 0.3 });
  const lines = new Map();
  for (const p of best) lines.set(p.group, (lines.get(p.group) || "") + `${lines.has(p.group) ? "L" : "M"}${x(p.ms)} ${y(p.map)}`);
  for (const d of lines.values()) add(plot, "path", { d, stroke: "var(--ink)", fill: "none", opacity: lines.size > 8 ? 0.25 : 0.8 });
  for (const p of shown) {
    const dot = add(plot, "circle", { cx: x(p.ms), cy: y(p.map), r: 4, stroke: colour(p), fill: p.wrong ? "var(--card)" : colour(p) });
    add(dot, "title", {}, `${p.model}, ${p.backend} ${p.precision}: ${p.ms.toFixed(2)} ms, mAP ${p.map.toFixed(1)}\n${p.group}\n${p.run}` +
      (p.wrong ? `\nmeasured while disturbed: ${p.wrong}` : ""));
  }
  best.sort((a, b) => (a.group < b.group ? -1 : +(a.group > b.group)) || a.ms - b.ms);
  for (const p of best.slice(0, MOST)) {
    const row = $("rows").insertRow();
    for (const text of [p.group, p.model, `${p.backend} ${p.precision}`, p.ms.toFixed(2), p.map.toFixed(1), p.run]) row.insertCell().textContent = text;
    row.cells[3].className = row.cells[4].className = "number";
  }
}

for (const name of FILTERS) {
  const found = [...new Set(points.map((p) => p[name]))].sort();
  $(name).append(new Option("all", ""), ...found.map((value) => new Option(value, value)));
  $(name).style.maxWidth = "28em";
  $(name).addEventListener("change", draw);
}
for (const backend of backends) {
  const key = document.createElement("span");
  key.textContent = `● ${backend}  `;
  key.style.color = colour({ backend });
  $("legend").append(key);
}
draw();
