/* Seconds of work on an item: a gap of more than two minutes between two signs of life doesn't count at all, nor does
   time with the page hidden or paused. */
"use strict";

(() => {
  const { byId, form } = window.rating;
  const IDLE_MS = 120000;
  let last = Date.now(); // the last sign of life; null while nothing counts
  let counted = 0; // milliseconds on this item
  const begin = () => {
    counted = Number(form()?.elements.active_seconds.value || 0) * 1000;
    last = Date.now();
  };
  const sign = () => {
    const now = Date.now();
    if (last !== null && now - last <= IDLE_MS) counted += now - last;
    last = last === null ? null : now;
    const field = form()?.elements.active_seconds;
    if (field) field.value = Math.round(counted / 1000);
  };
  const stop = () => { sign(); last = null; };
  const resume = () => { last = Date.now(); };

  ["keydown", "pointerdown", "pointermove", "wheel", "scroll"].forEach((name) =>
    document.addEventListener(name, sign, { passive: true, capture: true }));
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") stop();
    else if (!byId("paused").open) resume();
  });
  document.addEventListener("rating:arrive", begin);

  // The pause covers the case: somebody may be standing behind.
  const paused = byId("paused");
  byId("open-pause").addEventListener("click", () => {
    stop();
    paused.showModal();
  });
  paused.addEventListener("close", resume);
  paused.addEventListener("keydown", (event) => {
    if (["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    paused.close();
  });
})();
