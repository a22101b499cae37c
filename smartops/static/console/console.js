// What htmx leaves to the page: its Trusted Types policy, the state of the connection, and the time that passes.
(() => {
  const root = document.documentElement;
  const show = state => { root.dataset.connection = state; };

  htmx.registerExtension("console", {
    init: api => {
      // Pages are made by our own templates, which escape; a page that is fetched anew brings no scripts.
      const createHTML = html => html;
      const createScript = text => { if (text) throw new TypeError("no scripts in fragments"); return ""; };
      const policy = window.trustedTypes?.createPolicy("smartops", { createHTML, createScript });
      if (policy) api.initSecurity(policy);
    },
    htmx_after_ws_connection: () => show("live"),
    htmx_ws_close: () => show("reconnecting"),
    htmx_response_error: () => show("reconnecting"),
    htmx_error: () => show("reconnecting"),
    htmx_after_swap: () => show("live"),
  });

  const units = [[86400, "d"], [3600, "h"], [60, "min"]];
  const span = seconds => {
    const [size, unit] = units.find(([size]) => seconds >= 2 * size) ?? [1, "s"];
    return `${Math.floor(Math.max(0, seconds) / size)} ${unit}`;
  };
  setInterval(() => {
    for (const time of document.querySelectorAll("time[data-ticks]")) {
      const passed = span((Date.now() - Date.parse(time.dateTime)) / 1000);
      time.textContent = time.dataset.ticks === "ago" ? `${passed} ago` : passed;
    }
  }, 1000);
})();
