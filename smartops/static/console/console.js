// What htmx leaves to the page: its Trusted Types policy, the dialog, and what is said aloud.
(() => {
  htmx.registerExtension("console", {
    init: api => {
      // Pages are made by our own templates, which escape; a page that is fetched anew brings no scripts.
      const createHTML = html => html;
      const createScript = text => { if (text) throw new TypeError("no scripts in fragments"); return ""; };
      const policy = window.trustedTypes?.createPolicy("smartops", { createHTML, createScript });
      if (policy) api.initSecurity(policy);
    },
    htmx_response_error: (element, { ctx }) => { if (ofDialog(ctx)) failed(ctx); },
    htmx_error: (element, { ctx }) => { if (ofDialog(ctx)) failed(ctx); },
    htmx_after_swap: (element, { ctx }) => ofDialog(ctx) ? opened() : announce(),
    // A refresh leaves alone what a person has opened or entered.
    htmx_before_morph_attr: (element, { attrName }) =>
      !(attrName === "open" && element.matches("details")) && !(attrName === "value" && element.matches(".entered")),
  });

  // What is new of the elements with `data-announce` is said aloud, and the table around them is not.
  let known = null;
  const announce = () => {
    const texts = [...document.querySelectorAll("#live [data-announce]")].map(element => element.dataset.announce);
    const fresh = known ? texts.filter(text => !known.has(text)) : [];
    known = new Set([...(known ?? []), ...texts]);
    if (!fresh.length) return;
    const said = document.getElementById("said"), more = fresh.length - 3;
    if (said) said.textContent = fresh.slice(0, 3).join(". ") + (more > 0 ? `. And ${more} more.` : ".");
  };

  // The form of an act, in the dialog.
  const dialog = () => document.getElementById("act");
  const ofDialog = ctx => ctx?.target?.id === "act" || ctx?.target === "#act";
  const opened = () => {
    const it = dialog();
    if (!it.open) it.showModal();
    (it.querySelector("[role=alert]:not([hidden])") ?? it.querySelector("form :is(input, select, textarea):not([type=hidden])") ?? it.querySelector("form button"))?.focus();
  };
  const failed = ctx => {
    if ([401, 403, 404, 422].includes(ctx?.response?.status)) return; // they are shown
    const said = dialog().querySelector("[data-failed]");
    if (said) { said.hidden = false; said.focus(); }
  };
  addEventListener("click", event => {
    const close = event.target.closest?.("dialog [data-close]");
    if (close) { event.preventDefault(); close.closest("dialog").close(); }
  });
  addEventListener("input", event => event.target.classList?.add("entered"));
  addEventListener("formdata", event => { // of a filter: what is empty does not belong into the address
    if (!event.target.matches(".filter")) return;
    for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
  });
  addEventListener("DOMContentLoaded", () => { announce(); document.querySelector(".messages")?.focus(); });

})();
