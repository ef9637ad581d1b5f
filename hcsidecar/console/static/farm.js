// Draws the last hour of each node: one line a node, and a mark for each warning and error.
"use strict";
(() => {
  const EVERY = 10_000; // milliseconds
  const HOUR = 3600;
  const HEIGHT = 240;
  const section = document.getElementById("hour");
  const place = document.getElementById("hour-chart");
  const what = document.getElementById("hour-what");
  const rows = [...section.querySelectorAll("tr[data-node]")];
  const known = new Map(); // the last answer of each node: the line of a node that is silent stays until it leaves the hour
  let events = [];
  let isNews = true;
  let chart = null;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const clock = new Intl.DateTimeFormat(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" });
  const number = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 1 });

  // Without this header an open page would keep its session from ever becoming idle.
  async function ask(path) {
    const answer = await fetch(`/api/v1${path}`, { headers: { "X-Hcsidecar-Background": "1" }, cache: "no-store" });
    if (answer.status === 401) throw new SignedOut();
    return answer.ok ? answer.json() : null;
  }

  class SignedOut extends Error {}

  function column(told) {
    const found = what.value === "share" ? told.share?.[what.selectedOptions[0].dataset.share] : told[what.value];
    return found ?? [];
  }

  // All nodes on one axis of time. The clocks of the nodes agree to some seconds only; a sample stands for ten.
  function gathered() {
    const interval = Math.max(1, ...[...known.values()].map((told) => told.interval));
    const slot = (told) => Math.round(told.ends_at / interval);
    const last = Math.max(...[...known.values()].map(slot));
    const first = last - Math.round(HOUR / interval);
    const times = Array.from({ length: last - first + 1 }, (_, each) => (first + each) * interval);
    const lines = rows.map((row) => {
      const line = new Array(times.length).fill(null);
      const told = known.get(row.dataset.node);
      if (!told) return line;
      const values = column(told);
      values.forEach((value, each) => {
        const at = slot(told) - (values.length - 1 - each) - first;
        if (at >= 0) line[at] = value;
      });
      return line;
    });
    return [times, ...lines];
  }

  function markEvents(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    for (const event of events) {
      if (event.time < plot.scales.x.min || event.time > plot.scales.x.max) continue;
      const x = Math.round(plot.valToPos(event.time, "x", true));
      const isError = event.level === "error";
      ctx.strokeStyle = colour(isError ? "--bad" : "--changing");
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash(isError ? [] : [4 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  function axis(values) {
    return { stroke: colour("--faint"), grid: { stroke: colour("--edge"), width: 1 }, ticks: { stroke: colour("--edge"), width: 1 }, values };
  }

  function made(data) {
    const highest = { share: 100, ready: 1 }[what.value];
    return new uPlot({
      width: place.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
      scales: {
        x: { time: true, range: () => [data[0][0], data[0].at(-1)] },
        y: { range: (_plot, _low, high) => [0, highest ?? Math.max(1, (high ?? 0) * 1.1)] },
      },
      axes: [
        axis((_plot, ticks) => ticks.map((each) => clock.format(new Date(each * 1000)))),
        axis((_plot, ticks) => ticks.map((each) => number.format(each))),
      ],
      series: [{}, ...rows.map((row) => {
        const sample = row.querySelector(".line-sample");
        const dash = sample.dataset.dash.split(" ").filter(Boolean).map(Number);
        return { label: row.dataset.node, stroke: getComputedStyle(sample).color, width: 2, dash, points: { show: false } };
      })],
      hooks: { draw: [markEvents] },
    }, data, place);
  }

  function tell(data) {
    const unit = what.selectedOptions[0].dataset.unit ?? "";
    rows.forEach((row, index) => {
      const line = data[index + 1];
      const values = line.filter((value) => value !== null);
      const found = { now: line.at(-1) ?? line.at(-2), lowest: Math.min(...values), highest: Math.max(...values) };
      for (const cell of row.querySelectorAll("[data-value]")) {
        const value = found[cell.dataset.value];
        cell.textContent = Number.isFinite(value) ? `${number.format(value)}${unit && `\u00a0${unit}`}` : "–";
      }
    });
  }

  function draw() {
    if (!known.size) return;
    const data = gathered();
    tell(data);
    chart?.destroy();
    chart = made(data);
    section.dataset.drawn = what.value;
  }

  async function look() {
    const answer = await ask("/series");
    for (const each of answer?.nodes ?? []) {
      if (each.document) known.set(each.node, each.document);
    }
    if (isNews && known.size) {
      isNews = false;
      const newest = Math.max(...[...known.values()].map((told) => told.ends_at));
      const found = await ask(`/events?level=warning&last=200&since=${Math.max(0, Math.floor(newest - HOUR))}`);
      events = found?.events ?? events;
      section.dataset.marks = events.length;
    }
    draw();
  }

  async function keepLooking() {
    try {
      if (!document.hidden) await look();
    } catch (error) {
      if (error instanceof SignedOut) return;
      // The console does not answer: the page says so in its own place.
      if (!(error instanceof TypeError)) throw error;
    }
    setTimeout(keepLooking, EVERY);
  }

  what.addEventListener("change", draw);
  document.addEventListener("theme", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.addEventListener("htmx:sseMessage", (event) => {
    // Only warnings and errors are marks.
    isNews ||= event.detail.type === "events" && /<tr [^>]*class="(?:warning|error)"/.test(event.detail.data);
  });
  new ResizeObserver(() => chart?.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
  keepLooking();
})();
