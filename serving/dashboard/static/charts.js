// Small charts of our own, drawn at the width that there is.

import { colour } from "/dashboard/colours.js";
import { el, svg } from "/dashboard/dom.js";
import { clock, count, percent, seconds } from "/dashboard/format.js";

const drawn = new WeakMap();
const observer = new ResizeObserver((entries) => {
  for (const { target } of entries) drawn.get(target)?.();
});

// `draw(width)` gives the content of a chart of this height.
export function chart(height, label, draw) {
  const holder = el("div");
  const redraw = () => {
    const width = Math.max(200, holder.clientWidth);
    holder.replaceChildren(
      svg("svg", { class: "chart", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, height }, draw(width)),
    );
  };
  drawn.set(holder, redraw);
  observer.observe(holder);
  return holder;
}

const line = (x1, y1, x2, y2, more) => svg("line", { x1, y1, x2, y2, ...more });
const text = (x, y, words, more = {}) => svg("text", { x, y, ...more }, words);

// A step of 1, 2 or 5 times a power of ten that cuts `top` into few parts.
export function step(top, parts = 4) {
  const raw = top / parts, power = 10 ** Math.floor(Math.log10(raw || 1));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10);
}

export function interval(share, low, high) {
  const from = Math.min(0, Math.floor(low * 10) / 10), to = Math.max(1, high);
  return chart(34, `Between ${percent(low)} and ${percent(high)}, at 95% confidence`, (width) => {
    const x = (value) => ((value - from) / (to - from)) * width;
    return [
      svg("rect", { x: 0, y: 6, width, height: 8, rx: 4, fill: "var(--faint)" }),
      svg("rect", { x: x(low), y: 6, width: Math.max(3, x(high) - x(low)), height: 8, rx: 4, class: "good-fill", opacity: 0.45 }),
      svg("rect", { x: x(share) - 2, y: 3, width: 4, height: 14, rx: 2, class: "good-fill" }),
      text(x(0), 31, "0%"), text(x(1), 31, "100%", { "text-anchor": "end" }),
    ];
  });
}

export function timeline(slices, since, until, width_s) {
  const starts = [];
  for (let at = Math.floor(since / width_s) * width_s; at < until; at += width_s) starts.push(at);
  const bars = new Map(starts.map((at) => [at, []]));
  for (const one of slices) bars.get(one.at_s)?.push(one);
  const top = Math.max(1, ...[...bars.values()].map((parts) => parts.reduce((sum, one) => sum + one.requests, 0)));
  const total = slices.reduce((sum, one) => sum + one.requests, 0);
  return chart(190, `${count(total)} answers over time`, (width) => {
    const left = 34, floor = 164, unit = Math.max(1, step(top)), high = Math.ceil(top / unit) * unit;
    const y = (value) => floor - (value / high) * 150, slot = (width - left) / starts.length;
    const parts = [];
    for (let value = 0; value <= high; value += unit) {
      parts.push(line(left, y(value), width, y(value), { class: "grid" }), text(left - 8, y(value) + 4, count(value), { "text-anchor": "end" }));
    }
    starts.forEach((at, k) => {
      let below = 0;
      for (const one of bars.get(at)) {
        const tip = svg("title", {}, `${clock(at)}: ${one.candidate}, ${count(one.requests)} answers`);
        parts.push(svg("rect", {
          x: left + k * slot + slot * 0.12, y: y(below + one.requests), width: slot * 0.76, rx: 1,
          height: y(below) - y(below + one.requests), class: `fill ${colour(one.candidate)}`,
        }, tip));
        below += one.requests;
      }
    });
    const every = Math.max(1, Math.ceil(starts.length / Math.max(2, Math.floor(width / 110))));
    starts.forEach((at, k) => {
      if (k % every === 0) parts.push(text(left + k * slot, 184, stamp(at, until - since)));
    });
    return parts;
  });
}

function stamp(at, length) {
  if (length <= 86400) return clock(at);
  return new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" }).format(new Date(1000 * at));
}

export function reliability(bins) {
  const most = Math.max(...bins.map((bin) => bin.n_labels));
  const label = bins.map((bin) => `${percent(bin.predicted)} predicted, ${percent(bin.observed)} observed`).join("; ");
  return chart(256, label, (width) => {
    const left = 44, side = Math.min(width - left - 24, 560), floor = 214, tall = 200;
    const x = (value) => left + value * side, y = (value) => floor - value * tall;
    const parts = [];
    for (const value of [0, 0.25, 0.5, 0.75, 1]) {
      parts.push(line(x(0), y(value), x(1), y(value), { class: "grid" }), text(left - 8, y(value) + 4, percent(value), { "text-anchor": "end" }));
      parts.push(text(x(value), 232, percent(value), { "text-anchor": "middle" }));
    }
    parts.push(text(x(0.5), 252, "predicted", { "text-anchor": "middle" }), line(x(0), y(0), x(1), y(1), { class: "axis" }));
    for (const bin of bins) {
      const tip = svg("title", {}, `${percent(bin.predicted)} predicted, ${percent(bin.observed)} observed in ${count(bin.n_labels)} answers`);
      parts.push(line(x(bin.predicted), y(bin.low), x(bin.predicted), y(bin.high), { class: "accent-line", "stroke-width": 2, opacity: 0.45 }));
      parts.push(svg("circle", { cx: x(bin.predicted), cy: y(bin.observed), r: 3.5 + 4.5 * Math.sqrt(bin.n_labels / most), class: "accent" }, tip));
    }
    return parts;
  });
}

export function latencies(rows) {
  const found = rows.filter((row) => row.n > 0), height = found.length * 38 + 26;
  const top = Math.max(...found.map((row) => row.total_s.p99));
  const label = found.map((row) => `${row.candidate ?? "all"}: half within ${seconds(row.total_s.p50)}`).join("; ");
  return chart(height, label, (width) => {
    const unit = step(top, width < 420 ? 3 : 5), x = (value) => (value / (Math.ceil(top / unit) * unit)) * (width - 46);
    const parts = [];
    for (let value = 0; value <= Math.ceil(top / unit) * unit + unit / 1e6; value += unit) {
      parts.push(line(x(value), 4, x(value), height - 22, { class: "grid" }));
      parts.push(text(x(value), height - 6, value ? seconds(value) : "0", { "text-anchor": value ? "middle" : "start" }));
    }
    found.forEach((row, k) => {
      const y = k * 38, { p50, p95, p99 } = row.total_s, mine = row.candidate === null ? "" : colour(row.candidate);
      const fill = row.candidate === null ? "accent" : "fill";
      const tip = svg("title", {}, `${row.candidate ?? "All"}: half within ${seconds(p50)}, 95% within ${seconds(p95)}, 99% within ${seconds(p99)}`);
      parts.push(text(0, y + 15, row.candidate ?? "All answers", { class: "strong" }));
      parts.push(svg("g", { class: mine }, tip,
        svg("rect", { x: x(p50), y: y + 22, width: Math.max(2, x(p99) - x(p50)), height: 8, rx: 4, class: fill, opacity: 0.3 }),
        svg("rect", { x: x(p50), y: y + 22, width: Math.max(2, x(p95) - x(p50)), height: 8, rx: 4, class: fill, opacity: 0.55 }),
        svg("circle", { cx: x(p50), cy: y + 26, r: 5, class: fill })));
    });
    return parts;
  });
}
