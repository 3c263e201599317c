/* Single keys: each person's own (the map is in the page), never while somebody types or an answer is on its way. */
"use strict";

(() => {
  const { byId, form, settings, choose, answer, step, submit, keepSetting, isBusy } = window.rating;
  const actionOf = Object.fromEntries(Object.entries(JSON.parse(settings.keys)).map(([action, key]) => [key, action]));

  const keysSwitch = byId("keys-on");
  const showKeys = () => document.body.classList.toggle("keys-off", !keysSwitch.checked);
  keysSwitch.addEventListener("change", () => {
    keepSetting("off", keysSwitch.checked ? "" : "on");
    showKeys();
  });
  showKeys();
  byId("open-keys").addEventListener("click", () => byId("keys").showModal());

  // What works without an item to judge; then what needs one. Anything else is a choice of the sheet.
  const always = {
    help: () => byId("keys").showModal(),
    undo: () => byId("undo-form")?.requestSubmit(),
    pause: () => byId("open-pause").click(),
  };
  const open = (id, field) => {
    const details = byId(id);
    if (!details) return;
    details.open = !details.open || id === "skip";
    if (details.open && field) byId(field).focus();
  };
  const onItem = {
    submit,
    next: () => step(1),
    previous: () => step(-1),
    reason: () => byId("reason")?.focus(),
    chips: () => byId("chips")?.querySelector("input").focus(),
    skip: () => open("skip", "skip_reason"),
    instructions: () => open("instructions"),
    harm: () => byId("open-harm")?.click(),
    mark: () => window.rating.toggleMarks(),
    ideal: () => window.rating.toggleIdeal(),
    difference: () => byId("show-difference")?.click(),
    plain: () => byId("show-plain")?.click(),
    together: () => byId("scroll-together")?.click(),
    source: () => byId("fold-source")?.click(),
    place: () => byId("move-source")?.click(),
    view: () => window.rating.nextView(),
  };
  const press = (action) => {
    if (always[action]) return always[action]();
    if (!form() || form().inert) return undefined;
    if (onItem[action]) return onItem[action]();
    if (action.startsWith("point_")) return answer(action.slice("point_".length));
    return choose(form().querySelector(`[data-action="${action}"]`));
  };

  // Letters and signs by what they write; digits by where they lie: a French keyboard's upper row writes "&é…" there.
  const keyOf = (event) => {
    const digit = /^Digit(\d)$/.exec(event.code)?.[1];
    return digit && !event.shiftKey ? digit : event.key.toLowerCase();
  };
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    const typing = at.matches("textarea, select, input:not([type=radio], [type=checkbox])");
    if (typing && event.key === "Enter" && event.ctrlKey && at.form === form() && form() && !isBusy()) return submit();
    if (at.id === "skip_reason" && event.key === "Enter") {
      event.preventDefault();
      return byId("skip-submit").click(); // requestSubmit would go where the form goes, not where the button says
    }
    if (event.key === "Escape" && at.closest("#skip")) byId("skip").open = false;
    if (event.key === "Escape" && typing && !at.closest("dialog")) return at.blur();
    if (typing || isBusy() || event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return undefined;
    if (!keysSwitch.checked || document.querySelector("dialog[open]")) return undefined;
    const key = keyOf(event);
    // Enter on a control that has a use for it stays with that control.
    if (key === "enter" && at.matches("a, button, summary")) return undefined;
    if (!actionOf[key]) return undefined;
    event.preventDefault();
    return press(actionOf[key]);
  });
})();
