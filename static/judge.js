/* The rating page: single keys, autosave, time of work, and nothing lost when the session or the server is gone.
   The page works without this file; htmx, loaded before it, swaps #item instead of the whole page. */
"use strict";

(() => {
  const AUTOSAVE_MS = 800;
  const IDLE_MS = 30000; // without a key, a click or a scroll for so long, nobody is working
  const byId = (id) => document.getElementById(id);
  const form = () => byId("answer");
  let busy = false;
  let saveTimer = 0;
  let lastSign = Date.now();

  // Single keys: on unless switched off on this machine.
  const keysSwitch = byId("keys-on");
  const readKeys = () => {
    try { return localStorage.getItem("medprefs-keys") !== "off"; } catch { return true; }
  };
  const showKeys = () => document.body.classList.toggle("keys-off", !keysSwitch.checked);
  keysSwitch.checked = readKeys();
  keysSwitch.addEventListener("change", () => {
    try { localStorage.setItem("medprefs-keys", keysSwitch.checked ? "on" : "off"); } catch { /* private window */ }
    showKeys();
  });
  showKeys();
  byId("open-keys").hidden = false;
  byId("open-keys").addEventListener("click", () => byId("keys").showModal());

  // Questions: one is marked, digits answer it, then the next unanswered one is marked.
  const questions = () => [...document.querySelectorAll("[data-question]")];
  const active = () => document.querySelector("[data-question][data-active]");
  const mark = (question, { focus = false } = {}) => {
    if (!question) return;
    questions().forEach((other) => other.toggleAttribute("data-active", other === question));
    if (focus) {
      question.focus({ preventScroll: true });
      question.scrollIntoView({ block: "nearest" });
    }
  };
  const unanswered = () => questions().find((question) => !question.querySelector(":checked"));
  const step = (by) => {
    const all = questions();
    mark(all[Math.min(all.length - 1, Math.max(0, all.indexOf(active()) + by))], { focus: true });
  };

  const choose = (label) => {
    const input = label && label.querySelector("input");
    if (!input) return false;
    input.checked = true;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  };
  const chosen = (value) => Boolean(form().querySelector(`[name="choice"][value="${value}"]:checked`));
  const byDigit = (digit) => {
    if (chosen("cannot_judge")) return choose(document.querySelector(`.why-not [data-digit="${digit}"]`));
    const question = active();
    if (!question && !chosen("left") && !chosen("right")) return false;
    if (!question) return choose(document.querySelector(`.strength [data-digit="${digit}"]`));
    if (!choose(question.querySelector(`[data-digit="${digit}"]`))) return false;
    mark(unanswered() || question, { focus: true });
    return true;
  };

  const press = (key) => {
    if (key === "?") return byId("keys").showModal();
    if (key === "u") return byId("undo-form")?.requestSubmit();
    if (!form()) return undefined;
    if (key === "enter") return form().requestSubmit(byId("submit"));
    if (key === "r") return byId("reason").focus();
    if (key === "j") return step(1);
    if (key === "k") return step(-1);
    if (/^[1-9]$/.test(key)) return byDigit(key);
    return choose(form().querySelector(`[data-key="${key}"]`));
  };
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    const typing = at.matches("textarea, select, input:not([type=radio], [type=checkbox])");
    if (event.key === "Enter" && event.ctrlKey && at.id === "reason" && !busy) return form().requestSubmit(byId("submit"));
    if (event.key === "Escape" && typing) return at.blur();
    if (typing || busy || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return undefined;
    if (!keysSwitch.checked || byId("keys").open) return undefined;
    const key = event.key.toLowerCase();
    // Enter on a control that has a use for it stays with that control.
    if (key === "enter" && at.matches("a, button, summary")) return undefined;
    if (!/^[abencdrujk?1-9]$|^enter$/.test(key)) return undefined;
    event.preventDefault();
    return press(key);
  });

  // An answer takes back “cannot judge”; the strength of a preference belongs to A or B alone.
  document.addEventListener("change", (event) => {
    const name = event.target.name || "";
    if (name.startsWith("value-")) {
      const judged = form().querySelector('[name="choice"][value="judged"]');
      if (judged) judged.checked = true;
      mark(event.target.closest("[data-question]"));
    }
    const label = event.target.closest(".choice");
    if (label) label.closest("fieldset").classList.remove("field-error");
    later();
  });
  document.addEventListener("focusin", (event) => mark(event.target.closest("[data-question]")));

  // Seconds of work: counted while the page is seen and somebody is there.
  ["keydown", "pointerdown", "pointermove", "wheel", "scroll"].forEach((sign) =>
    document.addEventListener(sign, () => { lastSign = Date.now(); }, { passive: true, capture: true }));
  setInterval(() => {
    const field = form()?.elements.active_seconds;
    if (field && document.visibilityState === "visible" && Date.now() - lastSign < IDLE_MS) field.value = Number(field.value) + 1;
  }, 1000);

  // Autosave: a draft, which the server never lets replace a submission.
  const cookie = (name) => document.cookie.split("; ").find((part) => part.startsWith(`${name}=`))?.split("=")[1] || "";
  const posted = () => {
    const data = new FormData(form());
    data.set("csrfmiddlewaretoken", cookie("csrftoken") || data.get("csrfmiddlewaretoken"));
    return data;
  };
  const signedOut = (gone) => { byId("signed-out").hidden = !gone; };
  const save = async () => {
    clearTimeout(saveTimer);
    saveTimer = 0;
    const sheet = form();
    if (!sheet?.dataset.draft || busy) return;
    const state = byId("draft-state");
    try {
      const answer = await fetch(sheet.dataset.draft, { method: "POST", body: posted(), keepalive: true });
      signedOut(answer.redirected);
      state.textContent = { 204: "Draft kept", 422: "Draft not kept: too long" }[answer.status] || "";
    } catch {
      state.textContent = "Draft not kept: no connection";
    }
  };
  const later = () => { clearTimeout(saveTimer); saveTimer = setTimeout(save, AUTOSAVE_MS); };
  document.addEventListener("input", (event) => { if (event.target.form === form()) later(); });
  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden" && saveTimer) save(); });

  // htmx: one request at a time; incomplete (422) and refused (409) answers are shown; tokens are read when they are used,
  // because signing in again in another tab changes them.
  document.addEventListener("htmx:configRequest", (event) => {
    const token = cookie("csrftoken");
    if (token && event.detail.verb === "post") event.detail.parameters.csrfmiddlewaretoken = token;
  });
  document.addEventListener("htmx:beforeRequest", () => { busy = true; clearTimeout(saveTimer); saveTimer = 0; });
  document.addEventListener("htmx:afterRequest", () => { busy = false; });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { status } = event.detail.xhr;
    if (status === 422 || status === 409) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
  });
  document.addEventListener("medprefs:signed-out", () => signedOut(true));
  const failed = (event) => { byId("not-saved").hidden = [422, 409].includes(event.detail.xhr?.status); };
  ["htmx:sendError", "htmx:responseError", "htmx:timeout"].forEach((name) => document.addEventListener(name, failed));

  const arrive = () => {
    signedOut(false);
    byId("not-saved").hidden = true;
    mark(unanswered() || questions()[0]);
    const error = document.querySelector("#answer .error");
    const where = error && error.closest("fieldset, .field");
    if (where) {
      where.querySelector("input, textarea").focus();
      error.scrollIntoView({ block: "nearest" });
    }
    else if (byId("refused")) byId("refused").focus();
  };
  document.addEventListener("htmx:afterSwap", () => {
    byId("item-title").focus({ preventScroll: true });
    arrive();
  });
  arrive();
})();
