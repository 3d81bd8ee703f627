"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { colour, dash, byId, element, drawn, number, row, chart, reach } = draw;
  const WORLDS = ["happened", "old", "new"];
  const minutes = (seconds, decimals = 1) => (seconds === null || seconds === undefined ? "–" : number(seconds / 60, decimals));
  const time = (instant) => instant.slice(11, 19);

  byId("scope").textContent = `${data.geo}, ${data.from} to ${data.to}: ${data.old} against ${data.new}`;
  byId("repeated").textContent = data.repeated;
  byId("open-meaning").textContent = data.open_meaning;
  byId("closed-meaning").textContent = data.closed.meaning;

  const counts = Object.entries(data.open);
  row(byId("open"), counts.map(([name]) => name.replaceAll("_", " ")), "th");
  row(byId("open"), counts.map(([, count]) => count));

  // ---- Figures ------------------------------------------------------------------------------------------------------

  const NAMES = {
    click_to_door_s: "Click-to-door, min", food_wait_s: "Food wait, min", driver_wait_s: "Driver wait, min",
    undelivered_pct: "Undelivered, %",
  };
  const estimate = (it, by) => (it ? `${number(it.mean / by, 2)} (${number(it.low / by, 2)} to ${number(it.high / by, 2)})` : "–");
  row(byId("changes"), ["", "Old", "New", "New − old"], "th");
  for (const change of data.closed.changes) {
    const by = change.measure.endsWith("_s") ? 60 : 1;
    row(byId("changes"), [NAMES[change.measure], ...["old", "new", "change"].map((side) => estimate(change[side], by))]);
  }
  const headings = ["", "Delivered", "Undelivered"];
  for (const { measure } of data.closed.old.times) headings.push(NAMES[measure], "P50", "P90", "P99");
  row(byId("sides"), [...headings, "Orders per driver", "Busy min", "Gini"], "th");
  for (const world of WORLDS) {
    const side = data.closed[world];
    const cells = [world, side.delivered, side.undelivered];
    for (const it of side.times) cells.push(minutes(it.mean), minutes(it.p50), minutes(it.p90), minutes(it.p99));
    const work = side.work;
    cells.push(...(work ? [number(work.orders_mean, 2), number(work.busy_min_mean, 1), number(work.gini, 2)] : ["–", "–", "–"]));
    row(byId("sides"), cells);
  }

  WORLDS.forEach((name, index) => {
    const entry = element("span", byId("legend"));
    element("i", entry, undefined, { style: `border-color:${colour(index)}` });
    entry.append(name);
  });
  function curves() {
    for (const [measure, histograms] of Object.entries(data.curves)) {
      const lines = histograms.map((counts) => {
        const total = counts.reduce((sum, count) => sum + count, 0);
        let within = 0;
        return counts.map((count, bin) => [(bin + 1) * data.bin_s / 60, (within += count) / total]);
      });
      const until = reach(lines);
      for (const line of lines) {
        if (line.length) line.unshift([0, 0]);
        if (line.length && line[line.length - 1][0] < until) line.push([until, line[line.length - 1][1]]);
      }
      chart(byId(measure), lines, WORLDS, 0, until, (minute) => `${minute} min`, [1, 2, 5, 10, 15, 20, 30, 60]);
    }
  }

  // ---- Changed decisions --------------------------------------------------------------------------------------------

  const changed = data.changed;
  byId("shown").textContent = `${changed.length} of ${data.changed_count} orders with a changed decision, worst regression first: ` +
    "how much later the order is at the door in the closed loop. A line on the map, or a row, shows one.";
  row(byId("changed"), ["Order", "At", "Later, min", "Old, min", "New, min", "Difference", "Driver", "New driver", "Why"], "th");
  const lines = changed.map((it) => {
    const { compared } = it;
    const [old, fresh] = [it.old?.click_to_door, it.new?.click_to_door];
    const later = old === undefined || fresh === undefined ? (it.new ? "delivered only now" : "not delivered") : minutes(fresh - old);
    const line = row(byId("changed"), [
      it.order_id.slice(0, 8), time(compared.recorded.at), later, minutes(old), minutes(fresh), compared.kind.replaceAll("_", " "),
      compared.recorded.driver_id, compared.new ? compared.new.driver_id : "–", compared.why,
    ]);
    line.lastChild.className = "why";
    line.title = it.order_id;
    return line;
  });

  function map() {
    const svg = byId("map");
    const points = changed.flatMap(({ compared }) =>
      [compared.restaurant, compared.customer, compared.recorded.from, compared.new?.from].filter(Boolean));
    if (!points.length) return;
    const middle = points[0][0] * Math.PI / 180;
    const flat = ([lat, lon]) => [lon * Math.cos(middle), -lat];
    const placed = points.map(flat);
    const [xs, ys] = [0, 1].map((axis) => placed.map((point) => point[axis]));
    const [left, top] = [Math.min(...xs), Math.min(...ys)];
    const size = Math.max(Math.max(...xs) - left, Math.max(...ys) - top, 1e-6);
    const [width, height] = [1000, 600];
    const scale = Math.min((width - 40) / (Math.max(...xs) - left || size), (height - 40) / (Math.max(...ys) - top || size));
    const xy = (point) => flat(point).map((value, axis) => 20 + (value - [left, top][axis]) * scale);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const line = (group, from, to, style) => {
      const [[x1, y1], [x2, y2]] = [xy(from), xy(to)];
      drawn("line", group, { x1, y1, x2, y2, style });
    };
    const groups = changed.map(({ order_id, compared }) => {
      const group = drawn("g", svg, {});
      drawn("title", group, {}, `${order_id}: ${compared.why}`);
      line(group, compared.restaurant, compared.customer, "stroke:var(--shop);stroke-dasharray:3 4");
      if (compared.recorded.from) line(group, compared.recorded.from, compared.restaurant, `stroke:${colour(1)};stroke-width:2`);
      if (compared.new?.from) line(group, compared.new.from, compared.restaurant, `stroke:${colour(2)};stroke-width:2;stroke-dasharray:${dash(1)}`);
      const [x, y] = xy(compared.restaurant);
      drawn("rect", group, { x: x - 4, y: y - 4, width: 8, height: 8, style: "fill:var(--shop)" });
      const [cx, cy] = xy(compared.customer);
      drawn("circle", group, { cx, cy, r: 4, style: "fill:var(--open)" });
      return group;
    });
    const choose = (index) => {
      const again = lines[index].classList.contains("chosen");
      lines.forEach((line, at) => line.classList.toggle("chosen", !again && at === index));
      groups.forEach((group, at) => group.classList.toggle("faint", !again && at !== index));
    };
    groups.forEach((group, index) => { group.onclick = () => choose(index); });
    lines.forEach((line, index) => { line.onclick = () => choose(index); });
    for (const [name, style] of [
      ["recorded driver to restaurant", `border-color:${colour(1)}`], ["new driver to restaurant", `border-color:${colour(2)}`],
      ["restaurant to customer", "border-color:var(--shop)"],
    ]) {
      const entry = element("span", byId("map-legend"));
      element("i", entry, undefined, { style });
      entry.append(name);
    }
  }

  map();
  curves();
  addEventListener("resize", curves);
})();
