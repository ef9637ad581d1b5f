// What the pages do in the browser beside what htmx does: times in the browser's zone, dark or light, the icon that
// turns red, and what to show when the console itself is gone.
"use strict";
(() => {
  const root = document.documentElement;

  const zone = new Intl.DateTimeFormat(root.lang, { dateStyle: "short", timeStyle: "medium" });
  const today = new Intl.DateTimeFormat(root.lang, { timeStyle: "medium" });

  function showTimes(within) {
    for (const time of within.querySelectorAll("time[datetime]:not([data-local])")) {
      const when = new Date(time.dateTime);
      if (Number.isNaN(when.getTime())) continue;
      const isToday = when.toDateString() === new Date().toDateString();
      time.textContent = (isToday ? today : zone).format(when);
      time.dataset.local = "";
    }
  }

  function showLevel() {
    const told = document.querySelector("#headline [data-level], #farm-level [data-level]");
    const icon = document.getElementById("favicon");
    if (!told || !icon) return;
    const wanted = told.dataset.level === "bad" ? icon.dataset.bad : icon.dataset.good;
    if (icon.getAttribute("href") !== wanted) icon.setAttribute("href", wanted);
    notifyOf(told);
  }

  // The level that was last seen is kept for all pages and windows, so that each change is told once:
  // that it is bad, and that all is good again.
  function notifyOf(told) {
    const level = told.dataset.level;
    if (level !== "bad" && level !== "good") return;
    const isBad = level === "bad";
    const wasBad = localStorage.getItem("farm-is-bad");
    localStorage.setItem("farm-is-bad", isBad ? "yes" : "no");
    const button = document.getElementById("notify");
    if (wasBad === null || (wasBad === "yes") === isBad || !button || !notifies()) return;
    const text = told.textContent.replace(/\s+/g, " ").trim();
    new Notification(`${button.dataset.title} · hcsidecar`, { body: text, tag: "hcsidecar" });
  }

  function notifies() {
    return localStorage.getItem("notify") === "on" && "Notification" in window && Notification.permission === "granted";
  }

  function notifyButton() {
    const button = document.getElementById("notify");
    if (!button || !("Notification" in window) || !window.isSecureContext) return;
    const show = () => { button.textContent = notifies() ? button.dataset.off : button.dataset.on; };
    button.hidden = false;
    show();
    button.addEventListener("click", async () => {
      if (notifies()) {
        localStorage.setItem("notify", "off");
      } else if ((await Notification.requestPermission()) === "granted") {
        localStorage.setItem("notify", "on");
      } else {
        button.textContent = button.dataset.refused;
        return;
      }
      show();
    });
  }

  function shorten() {
    for (const list of document.querySelectorAll("[data-most]")) {
      while (list.children.length > Number(list.dataset.most)) list.lastElementChild.remove();
    }
  }

  function isDark() {
    const chosen = root.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function themeButton() {
    const button = document.getElementById("theme");
    if (!button) return;
    const show = () => { button.textContent = isDark() ? button.dataset.light : button.dataset.dark; };
    button.hidden = false;
    show();
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      localStorage.setItem("theme", root.dataset.theme);
      show();
      document.dispatchEvent(new CustomEvent("theme"));
    });
  }

  function lost(is) {
    const line = document.getElementById("lost");
    if (line) line.hidden = !is;
    root.classList.toggle("stale", is);
  }

  document.addEventListener("DOMContentLoaded", () => {
    // A menu that is open stays so when what is around it changes.
    Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) => !(name === "open" && node.matches("details"));
    showTimes(document);
    showLevel();
    themeButton();
    notifyButton();
  });
  for (const kind of ["htmx:sseMessage", "htmx:afterSwap", "htmx:afterSettle"]) {
    document.addEventListener(kind, (event) => {
      showTimes(event.target.closest ? document : event.target);
      showLevel();
      shorten();
    });
  }
  // A dialog opens when something has been put into it, and closes by a button that says so.
  // Not before htmx knows what it has put in: a form that is sent sooner would lead to a page of its own.
  document.addEventListener("htmx:afterSettle", (event) => {
    const dialog = document.getElementById("dialog");
    if (event.target.id !== "dialog-body" || !dialog || dialog.open) return;
    // An answer to what was done in the dialog does not open one that has been closed meanwhile.
    if (event.detail.requestConfig?.verb !== "get") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
    dialog.showModal();
  });
  document.addEventListener("click", (event) => {
    const dialog = document.getElementById("dialog");
    if (event.target.closest("[data-close]") && dialog && dialog.open) {
      event.preventDefault();
      dialog.close();
    }
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  // A link that acts as a button is pressed by the space bar too.
  document.addEventListener("keydown", (event) => {
    if (event.key === " " && event.target.matches('a[role="button"]')) {
      event.preventDefault();
      event.target.click();
    }
  });
  document.addEventListener("htmx:sseOpen", () => lost(false));
  document.addEventListener("htmx:sseError", () => lost(true));
})();
