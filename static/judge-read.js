/* How the texts are shown: where the source stands, differences, plain text, scrolling together, what a narrow screen
   shows; and what is done to texts: marking sentences, editing an output to the ideal. */
"use strict";

(() => {
  const { byId, form, settings, keepSetting } = window.rating;
  const click = (id, act) => document.addEventListener("click", (event) => { if (event.target.closest(`#${id}`)) act(event.target.closest(`#${id}`)); });

  // On the left or on top: "auto" is what the window's width makes of it.
  const isOnTop = () => settings.source === "top" || (settings.source === "auto" && window.matchMedia("(max-width: 60rem)").matches);
  click("move-source", () => keepSetting("source", isOnTop() ? "left" : "top"));
  const showFold = () => byId("fold-source")?.setAttribute("aria-expanded", String(!document.body.classList.contains("source-folded")));
  click("fold-source", () => { document.body.classList.toggle("source-folded"); showFold(); });

  // Differences are not kept from item to item: a text is read first, and compared then.
  const pressed = (id) => byId(id)?.getAttribute("aria-pressed") === "true";
  const press = (id, on) => byId(id)?.setAttribute("aria-pressed", String(on));
  const showDifference = (on) => {
    press("show-difference", on);
    document.body.classList.toggle("showing-difference", on);
  };
  click("show-difference", () => showDifference(!pressed("show-difference")));
  click("show-plain", () => {
    const on = !pressed("show-plain");
    press("show-plain", on);
    keepSetting("plain", on ? "on" : "");
  });
  click("scroll-together", () => {
    const on = !pressed("scroll-together");
    press("scroll-together", on);
    keepSetting("together", on ? "on" : "");
  });

  // By share of the way, so that a longer and a shorter text end together. What we scroll ourselves is not followed.
  const bodies = () => [...document.querySelectorAll(".pane-output > .pane-body")];
  let led = null;
  document.addEventListener("scroll", (event) => {
    const all = bodies();
    if (settings.together !== "on" || all.length < 2 || !all.includes(event.target)) return;
    if (event.target === led) { led = null; return; }
    const other = all.find((body) => body !== event.target);
    const room = (body) => body.scrollHeight - body.clientHeight;
    if (room(event.target) <= 0 || room(other) <= 0) return;
    const wanted = Math.round((event.target.scrollTop / room(event.target)) * room(other));
    if (Math.abs(other.scrollTop - wanted) < 1) return;
    led = other;
    other.scrollTop = wanted;
  }, { passive: true, capture: true });

  // Sentences: opened in both outputs alike, with the first menu at hand.
  const markings = () => [...document.querySelectorAll(".marking")];
  const toggleMarks = () => {
    const open = !markings().some((one) => one.open);
    markings().forEach((one) => { one.open = open; });
    if (open) markings()[0]?.querySelector("select")?.focus();
  };
  document.addEventListener("toggle", (event) => {
    if (!event.target.matches?.(".marking")) return;
    markings().forEach((one) => { one.open = event.target.open; });
  }, true);

  // The ideal begins as the output that was chosen, and follows the choice until somebody changes it.
  const shown = (side) => bodies()[side === "right" ? 1 : 0]?.querySelector(".as-typed")?.textContent || "";
  const sideOf = (sheet) => sheet.elements.ideal_side?.value || "";
  const isChanged = (sheet) => {
    const text = sheet.elements.ideal_text?.value || "";
    return text !== "" && ![shown("left"), shown("right")].some((one) => one.trim() === text.trim());
  };
  const fillIdeal = (side) => {
    const sheet = form();
    if (!sheet?.elements.ideal_text || isChanged(sheet) || !side) return;
    const radio = sheet.querySelector(`[name="ideal_side"][value="${side}"]`);
    if (radio?.type === "radio") radio.checked = true;
    sheet.elements.ideal_text.value = shown(side);
  };
  const chosenSide = () => {
    const choice = form().elements.choice?.value;
    return choice === "left" || choice === "right" ? choice : sideOf(form()) || "left";
  };
  document.addEventListener("change", (event) => {
    if (event.target.name === "choice") fillIdeal(["left", "right"].includes(event.target.value) ? event.target.value : "");
    if (event.target.name === "ideal_side") fillIdeal(event.target.value);
  });
  const toggleIdeal = () => {
    const ideal = byId("ideal");
    if (!ideal) return;
    ideal.open = !ideal.open;
    if (ideal.open) {
      fillIdeal(chosenSide());
      byId("ideal_text").focus();
    }
  };
  document.addEventListener("toggle", (event) => { if (event.target.id === "ideal" && event.target.open) fillIdeal(chosenSide()); }, true);
  // An output as it was is not an ideal, and is neither sent nor kept.
  document.addEventListener("formdata", (event) => {
    if (event.target === form() && !isChanged(event.target)) {
      event.formData.delete("ideal_text");
      event.formData.delete("ideal_side");
    }
  });

  // On a narrow screen: the next of what can be shown; it stays from item to item.
  let view = "all";
  const radios = () => [...document.querySelectorAll("#views [name=view]")];
  const showView = () => { const radio = radios().find((one) => one.value === view); if (radio) radio.checked = true; };
  document.addEventListener("change", (event) => { if (event.target.name === "view") view = event.target.value; });
  const nextView = () => {
    const all = radios();
    if (!all.length) return;
    view = all[(all.findIndex((one) => one.checked) + 1) % all.length].value;
    showView();
  };

  document.addEventListener("rating:arrive", () => {
    showDifference(false);
    press("show-plain", settings.plain === "on");
    press("scroll-together", settings.together === "on");
    showFold();
    showView();
  });
  Object.assign(window.rating, { toggleMarks, toggleIdeal, nextView });
})();
