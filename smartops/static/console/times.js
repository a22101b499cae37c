// Times in the reader's zone with UTC beside them, and durations that go on. Without this script a time is in UTC.
(() => {
  const EXACT = "smartops-exact-times"; // in localStorage: ages are shown as times
  const two = number => String(number).padStart(2, "0");
  const clock = (date, utc) => utc ? date.toISOString().slice(11, 19) : [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  const day = (date, utc) => utc ? date.toISOString().slice(0, 10) : [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");

  // "21:30:14 (20:30:14 UTC)"; with the date unless it is today, and with that of UTC where it is another.
  const exactly = date => {
    const today = day(date) === day(new Date()), sameDay = day(date) === day(date, true);
    const utc = `${sameDay ? "" : `${day(date, true)} `}${clock(date, true)} UTC`;
    if (date.getTimezoneOffset() === 0) return `${today ? "" : `${day(date)} `}${utc}`;
    return `${today ? "" : `${day(date)} `}${clock(date)} (${utc})`;
  };

  const units = [[86400, "d"], [3600, "h"], [60, "min"]];
  const span = seconds => {
    const [size, unit] = units.find(([size]) => seconds >= 2 * size) ?? [1, "s"];
    return `${Math.floor(Math.max(0, seconds) / size)} ${unit}`;
  };
  const spoken = time => {
    const date = new Date(time.dateTime), passed = span((Date.now() - date) / 1000);
    time.title = exactly(date);
    switch (time.dataset.ticks) {
      case "for": return passed;
      case "left": return span((date - Date.now()) / 1000);
      case "clock": return clock(date); // of the badge; the title has the rest
      case "ago": return localStorage.getItem(EXACT) ? exactly(date) : `${passed} ago`;
      default: return exactly(date);
    }
  };
  const show = () => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const text = spoken(time);
      if (time.textContent !== text) time.textContent = text; // else a selection would end
    }
  };

  htmx.registerExtension("times", {
    // What this script wrote stays, where the moment is the same.
    htmx_before_morph_node: (old, { newNode }) => !(old.matches?.("time[datetime]") && newNode.dateTime === old.dateTime && newNode.dataset.ticks === old.dataset.ticks),
    htmx_after_swap: show,
  });

  addEventListener("DOMContentLoaded", () => {
    show();
    setInterval(show, 1000);
    const button = document.getElementById("exact-times");
    const pressed = () => button.setAttribute("aria-pressed", Boolean(localStorage.getItem(EXACT)));
    if (!button) return;
    button.hidden = false;
    pressed();
    button.addEventListener("click", () => {
      if (localStorage.getItem(EXACT)) localStorage.removeItem(EXACT); else localStorage.setItem(EXACT, "1");
      pressed();
      show();
    });
  });
})();
