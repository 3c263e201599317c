/* What every page has: a question before what can't be undone, a busy mark, and a word when the session has ended.
   Pages work without this file. */
"use strict";

// <form data-confirm="…"> asks first.
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

// Signing out deletes what the rating page kept of this person in this browser (see judge-outbox.js).
document.addEventListener("submit", (event) => {
  const user = event.target.dataset.signsOut;
  if (!user || event.defaultPrevented) return;
  try {
    const kept = Object.keys(localStorage).filter((key) => key.startsWith(`medprefs:kept:${user}:`));
    const question = "Something you judged has not reached the server yet. Open the rating page to send it. Sign out all the same, and delete it?";
    if (kept.length && !window.confirm(question)) event.preventDefault();
    else kept.forEach((key) => localStorage.removeItem(key));
  } catch { /* a private window: nothing was kept */ }
});

// On a phone the tabs scroll: show the current one.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// A poll that is answered with another page (the sign-in form, after the session ended) must not be swapped in.
document.addEventListener("htmx:beforeSwap", (event) => {
  const answered = event.detail.xhr.responseURL;
  if (answered && answered.includes("/accounts/") && !window.location.pathname.startsWith("/accounts/")) {
    event.detail.shouldSwap = false;
    event.target.dispatchEvent(new CustomEvent("medprefs:signed-out", { bubbles: true }));
  }
});

// What scrolls by itself must be reachable without a pointer; what doesn't scroll would only be one more stop.
const reachable = () => document.querySelectorAll(".table-wrap, pre").forEach((box) => {
  if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
  else box.removeAttribute("tabindex");
});
reachable();
window.addEventListener("resize", reachable);
document.addEventListener("htmx:afterSwap", reachable);
