// The page's connection: the changes that the server sends, and what the badge says of the page's age.
// The messages are described in smartops/console/consumers.py.
(() => {
  const SILENT = 7000; // ms without a message about the age, or that it is late; the server sends one every 2 s
  const PATIENCE = 1000; // ms in which a page that fetches itself still counts as live
  const PACE = 250, AGAIN = 3000; // ms from one fetch to the next; after one that failed
  const ALONE = 10000; // ms between two fetches without a websocket: it may be one too many
  const NOT_ALLOWED = 4403; // smartops.console.consumers.Close
  const root = document.documentElement, find = id => document.getElementById(id);
  const now = () => performance.now();

  let connected = false, wasLive = false, paused = false;
  let heard = 0; // when the last age came
  let fastest = Infinity, late = 0; // of an age: its shortest way here, by two clocks; by how much the last one was slower
  let oldSince = 1; // since when the page is known to be old; 0: it is not
  let asOf = ""; // until when it is up to date
  let fetching = false, changed = false, fetched = 0, timer = 0;
  const news = new Set(); // the ids of rows that have changed and are not shown

  const state = () => {
    if (paused) return "paused";
    if (!connected) return wasLive ? "reconnecting" : "connecting";
    const isOld = oldSince && now() - oldSince > PATIENCE || now() - heard > SILENT || late > SILENT;
    if (isOld || !wasLive && oldSince) return wasLive ? "old" : "connecting";
    wasLive = true;
    const reconcilers = find("freshness")?.dataset.reconcilers;
    return reconcilers === "running" ? "live" : reconcilers;
  };
  const show = () => {
    const said = state();
    if (root.dataset.connection !== said) root.dataset.connection = said;
    for (const time of document.querySelectorAll("time.as-of-time")) {
      if (time.dateTime === asOf) continue;
      time.dateTime = asOf;
      time.textContent = new Date(asOf).toTimeString().slice(0, 8);
    }
    const button = find("news");
    if (!button) return;
    button.hidden = !news.size;
    const text = `${news.size} new`;
    if (button.textContent !== text) button.textContent = text;
  };
  const grow = () => { asOf = find("freshness")?.dataset.since ?? asOf; };
  const old = () => { oldSince ||= now(); show(); };

  const fetchSoon = (within, atLeast = 0) => {
    old();
    if (paused || fetching || timer || document.hidden) { changed = true; return; }
    const wait = Math.max(atLeast, fetched + PACE - now(), Math.random() * within * 1000);
    timer = setTimeout(() => { timer = 0; fetchNow(); }, Math.max(0, wait));
  };
  const fetchNow = () => {
    if (paused) return;
    [fetching, changed, fetched] = [true, false, now()];
    htmx.trigger("#live", "refresh");
  };
  const ended = succeeded => {
    fetching = false;
    if (!succeeded) return connected ? fetchSoon(0, AGAIN) : old();
    news.clear();
    grow();
    if (!connected) return show();
    if (changed) return fetchSoon(0);
    oldSince = 0;
    show();
  };

  // A list announces rows that it does not show. Nothing moves under the pointer.
  const announce = ids => {
    const rows = [...document.querySelectorAll("#live tbody tr[id]")];
    if (!rows.length) return fetchSoon(0);
    const hasNewer = document.querySelector("#live .pages [rel=prev]"), hasOlder = document.querySelector("#live .pages [rel=next]");
    for (const id of ids) {
      if (find(id) || hasNewer && id > rows[0].id || hasOlder && id < rows.at(-1).id) continue;
      news.add(id);
    }
  };

  const received = message => {
    if ("age" in message) {
      heard = now();
      const way = heard - Date.parse(message.age);
      fastest = Math.min(fastest, way);
      late = way - fastest;
    }
    if (paused) {
      if ("age" in message) return false;
      message.rows.forEach(id => news.add(id));
      old();
      return false;
    }
    if ("refresh" in message) fetchSoon(message.refresh);
    else if (!("age" in message)) {
      if (fetching) changed = true; // the answer may be older than this message
      if (message.listed) announce(message.rows);
    }
    return true;
  };

  const isOfPage = ctx => ctx?.sourceElement?.id === "live";
  htmx.registerExtension("live", {
    htmx_after_ws_connection: () => { [connected, heard, fastest, late] = [true, now(), Infinity, 0]; old(); },
    htmx_ws_close: (element, detail) => {
      connected = fetching = false;
      clearTimeout(timer);
      timer = 0;
      old();
      if (detail?.code === NOT_ALLOWED) htmx.trigger("#live", "refresh"); // the answer leads to the sign-in page
    },
    htmx_before_ws_message: (element, { message }) => message.json ? received(message.json) : true,
    htmx_after_swap: (element, { ctx }) => {
      if (isOfPage(ctx)) return ended(ctx.response?.status < 400);
      if (!oldSince) grow();
      show();
    },
    htmx_response_error: (element, { ctx }) => { if (isOfPage(ctx)) ended(false); },
    htmx_error: (element, { ctx }) => { if (isOfPage(ctx)) ended(false); },
  });

  const pause = on => {
    paused = on;
    const button = find("pause");
    button.setAttribute("aria-pressed", on);
    show();
    if (!on) fetchSoon(0);
  };
  addEventListener("click", event => {
    if (event.target.closest?.("#pause")) pause(!paused);
    else if (event.target.closest?.("#news")) paused ? pause(false) : fetchSoon(0);
  });
  addEventListener("DOMContentLoaded", () => { grow(); show(); });
  setInterval(() => {
    if (!connected && !document.hidden && now() - Math.max(fetched, ALONE / 2) > ALONE) fetchNow();
    show();
  }, 1000);
})();
