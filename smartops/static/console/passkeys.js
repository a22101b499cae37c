// Passkeys: what only a script can ask the browser for. A form with `data-passkey`, "create" or "get", posts the browser's
// answer. Its options are in `data-options`, or the answer to a post without an answer.
(() => {
  const known = window.PublicKeyCredential;
  const isAddress = /^\[|^[\d.]+$/.test(location.hostname); // a passkey is for a name
  if (!known?.parseRequestOptionsFromJSON || !known.parseCreationOptionsFromJSON || !known.prototype.toJSON || isAddress) return;
  document.documentElement.dataset.passkeys = "";

  const SAID = {
    NotAllowedError: "Nothing was done: you cancelled, or it took too long. Try again.",
    InvalidStateError: "This device already has a passkey of your account.",
    SecurityError: "The browser uses no passkeys at this address.",
    NotSupportedError: "This device has no passkey that SmartOps accepts.",
  };

  const optionsOf = async form => {
    if (form.dataset.options) return JSON.parse(form.dataset.options);
    const body = new URLSearchParams(new FormData(form));
    const response = await fetch(form.action, { method: "POST", body }).catch(() => null);
    const found = await response?.json().catch(() => null); // of a session that has ended it is a page
    if (!found?.challenge) throw new Error(found?.why ?? "The server did not answer as expected. Reload the page.");
    return found;
  };
  const ask = async (form, options) => form.dataset.passkey === "create"
    ? navigator.credentials.create({ publicKey: known.parseCreationOptionsFromJSON(options) })
    : navigator.credentials.get({ publicKey: known.parseRequestOptionsFromJSON(options) });

  addEventListener("submit", async event => {
    const form = event.target;
    if (!form.matches("[data-passkey]")) return;
    event.preventDefault();
    const said = form.querySelector("[role=alert]"), button = form.querySelector("button"), { answer } = form.elements;
    answer.value = ""; // a page that comes back has the last one
    said.hidden = button.disabled = true;
    try {
      answer.value = JSON.stringify(await ask(form, await optionsOf(form)));
      form.submit();
    } catch (error) {
      said.textContent = SAID[error.name] ?? (error.name === "Error" ? error.message : `The browser could not use a passkey: ${error.name}.`);
      said.hidden = false;
    }
    button.disabled = false;
    if (!said.hidden) button.focus();
  });
})();
