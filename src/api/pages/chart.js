// Charts as SVG. Each one is hidden from screen readers, which get a summary and a table instead.

/** A step that divides `max` into at most `parts` round pieces, 1 or more. */
function roundStep(max, parts) {
  const rough = Math.max(1, max / parts);
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 2.5, 5, 10].find((one) => one * power >= rough && Number.isInteger(one * power)) ?? 10;
  return factor * power;
}

/** 75000 as "75k": for axes only. */
function brief(value) {
  const units = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const [size, unit] = units.find(([one]) => value >= one) ?? [1, ""];
  return `${Number((value / size).toFixed(2))}${unit}`;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TIME_STEPS = [1, 2, 5, 10, 15, 30].map((n) => n * MINUTE)
  .concat([1, 2, 3, 6, 12].map((n) => n * HOUR), [1, 2, 7, 14, 30, 90, 365].map((n) => n * DAY));

/** Round points in time between two, in the reader's zone. */
function timeTicks(from, to, count) {
  const step = TIME_STEPS.find((one) => (to - from) / one <= count) ?? 10 * 365 * DAY;
  const zone = new Date(from).getTimezoneOffset() * MINUTE;
  const ticks = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at <= to; at += step) ticks.push(at);
  return ticks.map((at) => ({ at, label: (step >= DAY ? shortDay : shortTime).format(at) }));
}

const CHART_PX_MIN = 120;

/** On a phone a chart is not taller than it is wide. */
function heightFor(width, height) {
  return Math.min(height, Math.max(180, Math.round(width * 0.6)));
}

/** Draws anew whenever the place it has changes. */
function redrawn(host, drawInto) {
  let width = 0;
  new ResizeObserver(() => {
    const room = Math.floor(host.clientWidth);
    if (room === width || room < CHART_PX_MIN) return;
    width = room;
    drawInto(room);
  }).observe(host);
}

function frame(width, height, max) {
  const step = roundStep(max, 4);
  const top = Math.max(step, Math.ceil(max / step) * step);
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, n) => n * step);
  const left = Math.max(...ticks.map((tick) => brief(tick).length)) * 7.5 + 10;
  const box = { left, right: width - 10, top: 8, bottom: height - 24 };
  const y = (value) => box.bottom - (value / top) * (box.bottom - box.top);
  const lines = ticks.map((tick) => [
    draw("line", { class: tick === 0 ? "base" : "axis", x1: left, x2: box.right, y1: y(tick), y2: y(tick) }),
    draw("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, brief(tick)),
  ]);
  return { box, y, lines };
}

/** Lets pointer and arrow keys walk over `count` marks; `show(index or null)`. */
function walkable(host, count, nearest, show) {
  let at = null;
  const go = (index) => {
    at = index;
    show(at);
  };
  host.onpointermove = (event) => go(nearest(event.clientX - host.getBoundingClientRect().left));
  host.onpointerleave = () => go(null);
  host.onblur = () => go(null);
  host.onkeydown = (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -count, End: count };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    go(Math.min(count - 1, Math.max(0, (at ?? (step > 0 ? -1 : count)) + step)));
  };
}

/** A line over time from zero. `points`: `[{at: ms, value}]`; `tell(index)` is written into `readout`. */
function lineChart({ host, readout, points, tell, height: heightMax }) {
  redrawn(host, (width) => {
    const height = heightFor(width, heightMax);
    const max = Math.max(1, ...points.map((point) => point.value));
    const { box, y, lines } = frame(width, height, max);
    const from = points[0].at;
    const to = Math.max(points.at(-1).at, from + MINUTE);
    const x = (at) => box.left + ((at - from) / (to - from)) * (box.right - box.left);
    const ticks = timeTicks(from, to, (box.right - box.left) / 80).map(({ at, label }) => {
      const middle = Math.min(Math.max(x(at), box.left + 16), box.right - 16);
      return draw("text", { x: middle, y: height - 6, "text-anchor": "middle" }, label);
    });
    const stretches = unbroken(points);
    const paths = stretches.map((stretch) => {
      const line = stretch.map((point, n) => `${n ? "L" : "M"}${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}`).join("");
      const area = `${line}L${x(stretch.at(-1).at).toFixed(1)} ${box.bottom}L${x(stretch[0].at).toFixed(1)} ${box.bottom}Z`;
      return [draw("path", { class: "area", d: area }), draw("path", { class: "line", d: line })];
    });
    const cross = draw("line", { class: "cross", y1: box.top, y2: box.bottom, visibility: "hidden" });
    const dot = draw("circle", { class: "dot", r: 4.5 });
    const place = (index) => {
      const point = points[index ?? points.length - 1];
      const at = x(point.at);
      dot.setAttribute("cx", at);
      dot.setAttribute("cy", y(point.value));
      cross.setAttribute("x1", at);
      cross.setAttribute("x2", at);
      cross.setAttribute("visibility", index === null ? "hidden" : "visible");
      readout.replaceChildren(...tell(index));
    };
    place(null);
    host.replaceChildren(draw("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" }, lines, ticks, paths, cross, dot));
    const nearest = (px) => points.reduce((best, point, n) =>
      (Math.abs(x(point.at) - px) < Math.abs(x(points[best].at) - px) ? n : best), 0);
    walkable(host, points.length, nearest, place);
  });
}

/** The points, cut where the server was away: a line across a gap would claim what nobody measured. */
function unbroken(points) {
  const gaps = points.slice(1).map((point, n) => point.at - points[n].at).sort((a, b) => a - b);
  const limit = 4 * Math.max(MINUTE, gaps[Math.floor(gaps.length / 2)] ?? 0);
  const stretches = [];
  for (const [n, point] of points.entries()) {
    if (n === 0 || point.at - points[n - 1].at > limit) stretches.push([]);
    stretches.at(-1).push(point);
  }
  return stretches;
}

/** Columns side by side. `columns`: `[{label, value}]`. */
function columnChart({ host, readout, columns, tell, height: heightMax }) {
  redrawn(host, (width) => {
    const height = heightFor(width, heightMax);
    const { box, y, lines } = frame(width, height, Math.max(1, ...columns.map((column) => column.value)));
    const pitch = (box.right - box.left) / columns.length;
    const gap = pitch > 6 ? Math.min(6, pitch / 4) : 0.5;
    const wide = Math.min(pitch - gap, 48);
    const middle = (n) => box.left + (n + 0.5) * pitch;
    const marks = columns.map((column, n) => draw("rect", {
      class: "column",
      x: (middle(n) - wide / 2).toFixed(2),
      width: wide.toFixed(2),
      y: y(column.value).toFixed(2),
      height: Math.max(column.value > 0 ? 1.5 : 0, box.bottom - y(column.value)).toFixed(2),
      rx: wide > 6 ? 2 : 0,
    }));
    const every = Math.ceil(74 / pitch);
    const labels = columns.map((column, n) => {
      if (n % every !== 0) return null;
      const at = Math.min(Math.max(middle(n), box.left + 20), box.right - 20);
      return draw("text", { x: at, y: height - 6, "text-anchor": "middle" }, column.label);
    });
    const place = (index) => {
      for (const [n, mark] of marks.entries()) mark.classList.toggle("lit", n === index);
      readout.replaceChildren(...tell(index));
    };
    place(null);
    host.replaceChildren(draw("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" }, lines, marks, labels));
    const nearest = (px) => Math.min(columns.length - 1, Math.max(0, Math.floor((px - box.left) / pitch)));
    walkable(host, columns.length, nearest, place);
  });
}

/** A place for a chart that the keyboard can walk over, with its readout. */
function chartPlace(label) {
  const readout = make("p", { class: "readout", "aria-live": "polite" });
  const host = make("div", { class: "chart", tabindex: "0", role: "group", "aria-label": `${label}. Arrow keys read it point by point.`, "data-key": label });
  return { readout, host };
}

/** Horizontal bars under their names: `[{name: node, worth: nodes, value}]`. */
function bars(entries) {
  const max = Math.max(1, ...entries.map((entry) => entry.value));
  return make("ol", { class: "bars" }, entries.map(({ name, worth, value }) => {
    const bar = make("span");
    bar.style.width = `${Math.max(0, (value / max) * 100)}%`;
    return make("li", {}, make("span", { class: "break" }, name), make("span", { class: "worth" }, worth), make("span", { class: "track", "aria-hidden": "true" }, bar));
  }));
}
