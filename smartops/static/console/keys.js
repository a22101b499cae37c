// The keyboard: / searches, g and a letter opens a screen, j and k move through rows, ? shows all of it.
(() => {
  const OFF = "smartops-no-keys"; // in localStorage
  const TYPING = "input, textarea, select, [contenteditable]";
  const GOING = 1500; // milliseconds from g to its letter, as pressed: a busy page may handle both late
  let went = -Infinity; // when g was pressed

  const rows = () => [...document.querySelectorAll("#live .rows tbody tr")].map(row => row.querySelector("a[href]")).filter(Boolean);
  const step = by => {
    const all = rows(), at = all.findIndex(link => link.closest("tr").contains(document.activeElement));
    const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by];
    if (next) { next.focus(); next.closest("tr").scrollIntoView({ block: "nearest" }); }
    else document.querySelector(`.around [rel="${by > 0 ? "next" : "prev"}"]`)?.click(); // the page of one row
  };
  const acts = {
    "/": () => { const field = document.querySelector("[type=search]"); field?.focus(); field?.select(); return Boolean(field); },
    "?": () => document.getElementById("help").showModal(),
    j: () => step(1),
    k: () => step(-1),
    g: at => { went = at; },
  };

  addEventListener("keydown", event => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.target.closest?.(TYPING) || document.querySelector("dialog[open]") || localStorage.getItem(OFF)) return;
    if (event.timeStamp < went + GOING) {
      went = -Infinity;
      const link = document.querySelector(`.screens [data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); location.href = link.href; }
      return;
    }
    if (Object.hasOwn(acts, event.key) && acts[event.key](event.timeStamp) !== false) event.preventDefault();
  });

  addEventListener("DOMContentLoaded", () => {
    const help = document.getElementById("help"), keys = help?.querySelector("input");
    if (!help) return;
    keys.checked = !localStorage.getItem(OFF);
    keys.addEventListener("change", () => keys.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1"));
    for (const button of document.querySelectorAll("[data-help]")) {
      button.hidden = false;
      button.addEventListener("click", () => help.showModal());
    }
  });
})();
