/* The blinding check: digits answer, Enter goes on. The page works without this file. */
"use strict";

(() => {
  const form = document.getElementById("guess");
  let on = document.body.dataset.keys !== "off"; // what the person chose on the rating page
  try { on &&= localStorage.getItem("medprefs-keys") !== "off"; } catch { /* private window */ }
  document.body.classList.toggle("keys-off", !on);
  if (!form || !on) return;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1];
    const input = digit && form.querySelector(`[data-digit="${digit}"] input`);
    if (input) {
      event.preventDefault();
      input.checked = true;
      input.focus();
    } else if (event.key === "Enter" && !event.target.matches("a, button, summary")) {
      event.preventDefault();
      form.requestSubmit(document.getElementById("submit"));
    }
  });
})();
