"use strict";
// What all reports draw with.
const draw = (() => {
  const colour = (index) => `var(--p${index % 6})`;
  const dash = (index) => ["", "7 4", "2 4", "10 3 2 3"][index % 4];
  const byId = (id) => document.getElementById(id);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const SVG = "http://www.w3.org/2000/svg";

  function element(tag, parent, text, attributes = {}) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }
  function drawn(tag, parent, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }
  const number = (value, decimals) => (value === null ? "–" : value.toFixed(decimals));
  const clock = (minute) => {
    const whole = Math.floor(minute);
    return `${String(Math.floor(whole / 60)).padStart(2, "0")}:${String(whole % 60).padStart(2, "0")}`;
  };


  function row(table, cells, tag = "td") {
    const line = element("tr", table);
    for (const cell of cells) element(tag, line, cell);
    return line;
  }

  /** Where the slowest curve has all but half a percent of what it ever reaches. */
  function reach(lines) {
    const ends = lines.map((line) => {
      const last = line.length ? line[line.length - 1][1] : 0;
      const end = line.find(([, share]) => share >= last - 0.005);
      return end ? end[0] : 1;
    });
    return Math.max(10, ...ends);
  }

  /** Draws lines of [x, share 0..1], one per name; `label` writes an x. A finger or the mouse reads them off. */
  function chart(host, lines, names, from, until, label, steps) {
    host.replaceChildren();
    const width = Math.max(host.clientWidth, 200);
    const height = host.clientHeight;
    const [left, right, top, bottom] = [40, 10, 8, 24];
    const svg = drawn("svg", host, { viewBox: `0 0 ${width} ${height}` });
    const x = (value) => left + (width - left - right) * (value - from) / (until - from);
    const y = (share) => top + (height - top - bottom) * (1 - share);
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      drawn("line", svg, { class: "grid", x1: left, x2: width - right, y1: y(share), y2: y(share) });
      drawn("text", svg, { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, `${share * 100}%`);
    }
    const least = (until - from) / Math.max(2, Math.floor((width - left) / 70));
    const step = steps.find((size) => size >= least) || steps[steps.length - 1];
    for (let at = Math.ceil(from / step) * step; at <= until; at += step) {
      drawn("text", svg, { x: x(at), y: height - 6, "text-anchor": "middle" }, label(at));
    }
    lines.forEach((line, index) => {
      const points = line.filter(([at]) => at >= from && at <= until);
      // Counts are complete at a minute's end, so a share stays as it is when the curve is over.
      const path = points.map(([at, share], place) => `${place ? "L" : "M"}${x(at).toFixed(1)} ${y(share).toFixed(1)}`);
      drawn("path", svg, { d: path.join(""), style: `stroke:${colour(index)}`, "stroke-dasharray": dash(index) });
    });
    const cross = drawn("line", svg, { class: "cross", y1: top, y2: height - bottom, visibility: "hidden" });
    const tip = element("div", host, undefined, { class: "tip", hidden: "" });
    host.onpointermove = (event) => {
      const box = host.getBoundingClientRect();
      const at = from + (until - from) * ((event.clientX - box.left) - left) / (width - left - right);
      if (at < from || at > until) return host.onpointerleave();
      cross.setAttribute("x1", x(at));
      cross.setAttribute("x2", x(at));
      cross.setAttribute("visibility", "visible");
      tip.hidden = false;
      tip.replaceChildren();
      element("div", tip, label(Math.round(at)));
      lines.forEach((line, index) => {
        const known = line.filter(([value]) => value <= at + 0.5);
        if (!known.length) return;
        const share = known[known.length - 1][1];
        element("div", tip, `${names[index]}: ${(100 * share).toFixed(1)}%`, { style: `color:${colour(index)}` });
      });
      const beyond = x(at) > width / 2;
      tip.style.left = beyond ? "" : `${x(at) + 12}px`;
      tip.style.right = beyond ? `${width - x(at) + 12}px` : "";
    };
    host.onpointerleave = () => {
      cross.setAttribute("visibility", "hidden");
      tip.hidden = true;
    };
  }

  return { colour, dash, byId, css, element, drawn, number, clock, row, chart, reach };
})();
