"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const policies = data.results.policies;
  const names = policies.map((policy) => policy.policy);
  const { colour, byId, css, element, number, clock, row, chart, reach } = draw;

  // ---- Tables -------------------------------------------------------------------------------------------------------

  // Measure, heading, decimals, and whether less (-1) or more (1) is better.
  const MEASURES = [
    ["undelivered_pct", "Undelivered %", 2, -1],
    ["click_to_door_mean", "Click-to-door", 2, -1],
    ["click_to_door_p50", "P50", 1, -1],
    ["click_to_door_p90", "P90", 1, -1],
    ["click_to_door_p99", "P99", 1, -1],
    ["click_to_door_charged_mean", "Charged", 2, -1],
    ["ready_to_pickup_mean", "Food wait", 2, -1],
    ["ready_to_pickup_p90", "P90", 1, -1],
    ["ready_to_pickup_p99", "P99", 1, -1],
    ["courier_wait_mean", "Courier wait", 2, 0],
    ["first_mile_mean", "First mile", 2, 0],
    ["utilisation", "Utilisation", 2, 0],
    ["orders_per_courier_hour", "Orders / h", 2, 0],
    ["orders_per_courier_min", "Fewest", 1, 0],
    ["orders_per_courier_max", "Most", 1, 0],
    ["orders_per_courier_gini", "Gini", 2, -1],
    ["cost_per_order", "Cost / order", 2, -1],
    ["bundled_pct", "Bundled %", 1, 0],
  ];

  function mark(lines, column, values, sense) {
    if (!sense || values.length < 2) return;
    const known = values.filter((value) => value !== null);
    const best = sense < 0 ? Math.min(...known) : Math.max(...known);
    values.forEach((value, index) => {
      if (value === best) lines[index].children[column].className = "best";
    });
  }

  function means() {
    const table = byId("means");
    row(table, ["Policy", ...MEASURES.map(([, heading]) => heading)], "th");
    const lines = policies.map((policy) =>
      row(table, [policy.policy, ...MEASURES.map(([key, , decimals]) => number(policy.mean[key], decimals))]));
    MEASURES.forEach(([key, , , sense], index) =>
      mark(lines, index + 1, policies.map((policy) => policy.mean[key]), sense));
  }

  function comparison() {
    const worse = data.results.worse_than_fifo;
    if (!worse) return;
    byId("worse").textContent = worse.length
      ? "Worse than fifo: " + worse.map((it) =>
        `${it.policy} on ${it.instance} in ${it.measure} (${number(it.value, 2)}, fifo ${number(it.fifo, 2)})`).join("; ") + "."
      : "On no instance is another policy worse than fifo in P99, click-to-door, food wait or undelivered orders.";
  }

  function perInstance() {
    const table = byId("instances");
    row(table, ["Instance", "Policy", ...MEASURES.slice(0, 9).map(([, heading]) => heading)], "th");
    policies[0].instances.forEach((_, at) => {
      const lines = policies.map((policy, index) => {
        const measures = policy.instances[at];
        const cells = MEASURES.slice(0, 9).map(([key, , decimals]) => number(measures[key], decimals));
        return row(table, [index ? "" : measures.name, policy.policy, ...cells]);
      });
      MEASURES.slice(0, 9).forEach(([key, , , sense], index) =>
        mark(lines, index + 2, policies.map((policy) => policy.instances[at][key]), sense));
    });
  }

  // ---- Curves -------------------------------------------------------------------------------------------------------

  /** The curves of one policy over the chosen instances (all when `at` is -1). */
  function chosen(policy, at) {
    return at < 0 ? data.curves[policy] : [data.curves[policy][at]];
  }
  function sum(lists) {
    const total = [];
    for (const list of lists) list.forEach((value, index) => { total[index] = (total[index] || 0) + value; });
    return total;
  }
  /** Share of all orders within each whole minute, as [minute, share]. */
  function shares(policy, at, key) {
    const curves = chosen(policy, at);
    const orders = curves.reduce((count, curve) => count + curve.orders, 0);
    let within = 0;
    return sum(curves.map((curve) => curve[key])).map((count, minute) => [minute, (within += count) / orders]);
  }
  function utilisation(policy, at) {
    const curves = chosen(policy, at);
    const busy = sum(curves.map((curve) => curve.busy));
    const duty = sum(curves.map((curve) => curve.on_duty));
    // The few who are on duty at the fringes of the day say little of it.
    const few = Math.max(...duty) / 50;
    return duty
      .map((minutes, bin) => [(bin + 0.5) * data.bin_min, minutes > few ? (busy[bin] || 0) / minutes : null])
      .filter(([, share]) => share !== null);
  }

  function curves() {
    const at = Number(byId("instance").value);
    const minutes = [1, 2, 5, 10, 15, 20, 30, 60];
    const each = (line) => policies.map((_, policy) => line(policy));
    for (const [id, key] of [["click-to-door", "click_to_door"], ["ready-to-pickup", "ready_to_pickup"]]) {
      const lines = each((policy) => shares(policy, at, key));
      const until = reach(lines);
      // A curve that is complete before the others goes on where it is.
      for (const line of lines) {
        if (line.length && line[line.length - 1][0] < until) line.push([until, line[line.length - 1][1]]);
      }
      chart(byId(id), lines, names, 0, until, (minute) => `${minute} min`, minutes);
    }
    const lines = each((policy) => utilisation(policy, at));
    const ends = lines.flatMap((line) => line.map(([minute]) => minute));
    chart(byId("utilisation"), lines, names, Math.min(...ends), Math.max(...ends), clock, [30, 60, 120, 180, 240, 360]);
  }

  // ---- Map ----------------------------------------------------------------------------------------------------------

  const map = data.map;
  const STATES = [["idle", "free"], ["fetch", "to the restaurant"], ["wait", "at the restaurant"], ["carry", "to the customer"]];

  /** Each courier's moves and stays of one policy, in the order of time. */
  function timelines(trips) {
    const minutesBetween = (a, b) => Math.ceil(Math.sqrt((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2) / map.metres_per_minute);
    const lines = map.couriers.map(([x, y]) => ({ at: [x, y], parts: [] }));
    const fates = map.orders.map(() => null);
    for (const [courier, departs, pickup, drops] of trips) {
      const line = lines[courier];
      const part = (state, from, until, to) => {
        line.parts.push({ state, from, until, start: line.at, end: to });
        line.at = to;
      };
      const shop = map.restaurants[map.orders[drops[0][0]][2]];
      const arrives = departs + minutesBetween(line.at, shop);
      part("fetch", departs, arrives, shop);
      part("wait", arrives, drops[0][1], shop);
      for (const [order, leaves, dropoff] of drops) {
        const door = map.orders[order].slice(0, 2);
        const arrives = leaves + minutesBetween(line.at, door);
        part("carry", leaves, arrives, door);
        part("carry", arrives, dropoff + map.half_dropoff, door);
        fates[order] = { decided: departs, pickup, dropoff };
      }
    }
    return { lines, fates };
  }

  function mapPlayer() {
    if (!map) return byId("map-section").remove();
    const days = map.trips.map(timelines);
    const canvas = byId("map");
    const brush = canvas.getContext("2d");
    const places = [...map.restaurants, ...map.orders, ...map.couriers];
    const bound = (axis, pick) => places.reduce((best, place) => pick(best, place[axis]), places[0][axis]);
    const [left, right, low, high] = [bound(0, Math.min), bound(0, Math.max), bound(1, Math.min), bound(1, Math.max)];
    const first = map.orders.reduce((best, order) => Math.min(best, order[3]), Infinity);
    const last = days.reduce((best, day) => day.lines.reduce((latest, line) =>
      line.parts.reduce((end, part) => Math.max(end, part.until), latest), best), first + 1);
    const slider = byId("clock");
    [slider.min, slider.max, slider.value] = [first, last, first];
    names.forEach((name, index) => element("option", byId("map-policy"), name, { value: index }));
    byId("map-policy").value = String(names.length - 1);
    for (const [state, text] of STATES) {
      const entry = element("span", byId("map-legend"));
      element("i", entry, undefined, { class: "dot full", style: `color:var(--${state})` });
      entry.append(`courier ${text}`);
    }
    for (const [full, text] of [["", "order without a courier"], [" full", "order with a courier"]]) {
      const entry = element("span", byId("map-legend"));
      element("i", entry, undefined, { class: `dot${full}`, style: "color:var(--open)" });
      entry.append(text);
    }

    let minute = first;
    let view = null;
    function measure() {
      const ratio = window.devicePixelRatio || 1;
      const width = canvas.clientWidth;
      const span = Math.max(right - left, high - low, 1);
      const margin = 14;
      const scale = Math.min((width - 2 * margin) / Math.max(right - left, span / 4),
        (Math.min(width, 640) - 2 * margin) / Math.max(high - low, span / 4));
      const height = (high - low) * scale + 2 * margin;
      canvas.style.height = `${height}px`;
      canvas.width = width * ratio;
      canvas.height = height * ratio;
      const shift = (width - (right - left) * scale) / 2;
      view = {
        ratio, width, height,
        x: (metres) => shift + (metres - left) * scale,
        y: (metres) => height - margin - (metres - low) * scale,
        ink: Object.fromEntries([...STATES.map(([state]) => state), "open", "shop"].map((name) => [name, css(`--${name}`)])),
      };
    }
    function dot([x, y], radius, ink, full) {
      brush.beginPath();
      brush.arc(view.x(x), view.y(y), radius, 0, 2 * Math.PI);
      brush[full ? "fillStyle" : "strokeStyle"] = ink;
      if (full) brush.fill(); else brush.stroke();
    }
    function draw() {
      const day = days[Number(byId("map-policy").value)];
      brush.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
      brush.clearRect(0, 0, view.width, view.height);
      brush.lineWidth = 1.5;
      brush.fillStyle = view.ink.shop;
      for (const [x, y] of map.restaurants) brush.fillRect(view.x(x) - 2, view.y(y) - 2, 4, 4);
      const count = { unassigned: 0, assigned: 0, delivered: 0, duty: 0, busy: 0 };
      map.orders.forEach((order, index) => {
        const fate = day.fates[index];
        if (order[3] > minute) return;
        if (fate && fate.dropoff <= minute) { count.delivered += 1; return; }
        const assigned = fate && fate.decided <= minute;
        count[assigned ? "assigned" : "unassigned"] += 1;
        dot(order, 3.5, view.ink.open, assigned);
      });
      day.lines.forEach((line, index) => {
        const [x, y, on, off] = map.couriers[index];
        const part = line.parts.find((each) => each.from <= minute && minute < each.until);
        if (!part && (minute < on || minute > off)) return;
        count.duty += 1;
        if (!part) {
          const before = line.parts.filter((each) => each.until <= minute);
          return dot(before.length ? before[before.length - 1].end : [x, y], 4, view.ink.idle, true);
        }
        count.busy += 1;
        const done = part.until > part.from ? (minute - part.from) / (part.until - part.from) : 1;
        const here = [0, 1].map((axis) => part.start[axis] + (part.end[axis] - part.start[axis]) * done);
        brush.strokeStyle = view.ink[part.state];
        brush.globalAlpha = 0.5;
        brush.beginPath();
        brush.moveTo(view.x(here[0]), view.y(here[1]));
        brush.lineTo(view.x(part.end[0]), view.y(part.end[1]));
        brush.stroke();
        brush.globalAlpha = 1;
        dot(here, 4, view.ink[part.state], true);
      });
      byId("time").textContent = clock(minute);
      slider.value = minute;
      byId("map-figures").textContent = `${map.instance}: ${count.unassigned} orders without a courier, ${count.assigned} with one, `
        + `${count.delivered} delivered; ${count.busy} of ${count.duty} couriers on a trip`;
    }

    let playing = false;
    let before = 0;
    function frame(now) {
      if (!playing) return;
      minute += Math.min(now - before, 100) / 1000 * Number(byId("speed").value);
      before = now;
      if (minute >= last) { minute = last; stop(); }
      draw();
      if (playing) requestAnimationFrame(frame);
    }
    function stop() {
      playing = false;
      byId("play").textContent = "Play";
    }
    byId("play").onclick = () => {
      if (playing) return stop();
      if (minute >= last) minute = first;
      playing = true;
      byId("play").textContent = "Pause";
      requestAnimationFrame((now) => { before = now; frame(now); });
    };
    slider.oninput = () => { minute = Number(slider.value); draw(); };
    byId("map-policy").onchange = draw;
    // Begin where something is to be seen.
    const placed = map.orders.map((order) => order[3]).sort((a, b) => a - b);
    minute = placed[Math.floor(placed.length / 2)];
    return () => { measure(); draw(); };
  }

  // ---- The page -----------------------------------------------------------------------------------------------------

  const instances = policies[0].instances;
  const orders = instances.reduce((count, instance) => count + instance.orders, 0);
  byId("scope").textContent = `${instances.length} instances, ${orders} orders. Policies: `
    + policies.map((policy) => `${policy.policy} (version ${policy.version})`).join(", ") + ".";
  names.forEach((name, index) => {
    const entry = element("span", byId("legend"));
    element("i", entry, undefined, { style: `border-color:${colour(index)};border-top-style:${index % 4 ? "dashed" : "solid"}` });
    entry.append(name);
  });
  element("option", byId("instance"), "all, every order counting the same", { value: -1 });
  instances.forEach((instance, index) => element("option", byId("instance"), instance.name, { value: index }));
  byId("instance").onchange = curves;
  means();
  comparison();
  perInstance();
  const redrawMap = mapPlayer();
  const redraw = () => { curves(); if (redrawMap) redrawMap(); };
  window.addEventListener("resize", redraw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  redraw();
})();
