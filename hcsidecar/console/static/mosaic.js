// Asks again and again who answers, each time by a new connection, and shows it.
"use strict";
(() => {
  const MOST_TILES = 240;
  const LIMIT = 3000; // milliseconds for one answer
  const tiles = document.getElementById("tiles");
  const counts = document.getElementById("counts");
  const rate = document.getElementById("rate");
  const pause = document.getElementById("pause");
  const found = new Map();
  const order = [];
  let going = true;

  function show(name, isAnswer) {
    if (isAnswer && !order.includes(name)) order.push(name);
    const tile = document.createElement("div");
    tile.className = isAnswer ? `tile n${order.indexOf(name) % 6}` : "tile none";
    tile.textContent = name;
    tiles.prepend(tile);
    while (tiles.children.length > MOST_TILES) tiles.lastElementChild.remove();
    found.set(name, (found.get(name) ?? 0) + 1);
    const all = [...found.values()].reduce((sum, each) => sum + each, 0);
    counts.replaceChildren(...[...found].sort().map(([who, count]) => {
      const row = document.createElement("tr");
      for (const text of [who, String(count), `${Math.round((100 * count) / all)} %`]) {
        const cell = document.createElement("td");
        cell.textContent = text;
        row.append(cell);
      }
      return row;
    }));
  }

  async function ask() {
    try {
      const answer = await fetch(`/who?${Math.random()}`, { cache: "no-store", signal: AbortSignal.timeout(LIMIT) });
      show((await answer.json()).node || "?", true);
    } catch {
      show(tiles.dataset.none, false);
    }
  }

  function next() {
    if (going) ask();
    const wanted = Math.min(50, Math.max(1, Number(rate.value) || 1));
    setTimeout(next, 1000 / wanted);
  }

  pause.addEventListener("click", () => {
    going = !going;
    pause.textContent = going ? pause.dataset.pause : pause.dataset.go;
  });
  document.getElementById("clear").addEventListener("click", () => {
    found.clear();
    tiles.replaceChildren();
    counts.replaceChildren();
  });
  document.getElementById("rate-form").addEventListener("submit", (event) => event.preventDefault());
  next();
})();
