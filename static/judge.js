/* The rating page: its questions, the draft, and what htmx swaps in. What else the page can do stands beside it:
   judge-outbox.js (nothing is lost offline or signed out), judge-read.js (how texts are shown, sentences, the edited
   ideal), judge-time.js (time of work, pause), judge-harm.js, judge-keys.js (single keys).
   The page works without any of them; htmx, loaded before, swaps #item instead of the whole page. */
"use strict";

window.rating = (() => {
  const AUTOSAVE_MS = 800;
  const UNDO_SECONDS = 10;
  const byId = (id) => document.getElementById(id);
  const form = () => byId("answer");
  const settings = document.body.dataset;
  let busy = false;
  let saveTimer = 0;
  let undoTimer = 0;
  document.body.classList.add("has-js");

  // Questions: one is marked, keys answer it, then the next unanswered one is marked. Hidden ones are not asked.
  const isSeen = (element) => element.getClientRects().length > 0;
  const questions = () => [...document.querySelectorAll("[data-question]")].filter(isSeen);
  const active = () => questions().find((question) => question.hasAttribute("data-active"));
  const mark = (question, { focus = false } = {}) => {
    if (!question) return;
    document.querySelectorAll("[data-question]").forEach((other) => other.toggleAttribute("data-active", other === question));
    if (focus) {
      question.focus({ preventScroll: true });
      question.scrollIntoView({ block: "nearest" });
    }
  };
  const chosen = (value) => Boolean(form().querySelector(`[name="choice"][value="${value}"]:checked`));
  const unanswered = () => {
    const asked = chosen("cannot_judge") || chosen("defective") ? questions().filter((one) => one.matches(".why-not")) : questions();
    return asked.find((question) => !question.querySelector(":checked"));
  };
  const step = (by) => {
    const all = questions();
    const at = all.indexOf(active());
    mark(all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))], { focus: true });
  };
  const choose = (label) => {
    const input = label && label.querySelector("input");
    if (!input) return;
    input.checked = input.type === "radio" || !input.checked;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const answer = (point) => {
    const question = active() || unanswered();
    const label = question?.querySelector(`[data-point="${point}"]`);
    if (!label) return;
    choose(label);
    const all = questions(); // where all are answered, as in a correction: on to the one below
    mark(unanswered() || all[all.indexOf(question) + 1] || question, { focus: true });
  };

  // An answer takes back “cannot judge”; the strength of a preference belongs to A or B alone.
  document.addEventListener("change", (event) => {
    const { name, value } = event.target;
    if (event.target.form !== form() || !form()) return;
    if (name.startsWith("value-")) {
      const judged = form().querySelector('[name="choice"][value="judged"]');
      if (judged) judged.checked = true;
      mark(event.target.closest("[data-question]"));
    }
    if (name === "choice" && (value === "left" || value === "right")) mark(form().querySelector(".strength"));
    if (name === "choice" && value === "cannot_judge") mark(form().querySelector(".why-not"));
    event.target.closest(".field-error")?.classList.remove("field-error");
    later();
  });
  document.addEventListener("focusin", (event) => mark(event.target.closest("[data-question]")));

  // What the page says of itself, in its header. A failed request says more than the browser's own idea of being online.
  const state = (kind, text) => {
    byId("state").dataset.state = kind;
    byId("state").textContent = text;
  };

  // Tokens are read when they are used, because signing in again changes them.
  const cookie = (name) => document.cookie.split("; ").find((part) => part.startsWith(`${name}=`))?.split("=")[1] || "";
  const withToken = (data) => {
    data.set("csrfmiddlewaretoken", cookie("csrftoken"));
    return data;
  };

  // Autosave: a draft, which the server never lets replace a submission.
  const save = async () => {
    clearTimeout(saveTimer);
    saveTimer = 0;
    const sheet = form();
    if (!sheet?.dataset.draft || busy || sheet.inert) return;
    const typed = new FormData(sheet);
    try {
      const response = await fetch(sheet.dataset.draft, { method: "POST", body: withToken(typed), keepalive: true });
      byId("signed-out").hidden = !response.redirected;
      if (response.redirected || response.status >= 500) throw new Error(response.statusText);
      state("saved", { 204: "Draft kept", 422: "Draft not kept: too long" }[response.status] || "");
      document.dispatchEvent(new CustomEvent("rating:draft-kept", { detail: typed }));
    } catch {
      state("offline", "Draft kept in this browser");
      document.dispatchEvent(new CustomEvent("rating:draft-failed", { detail: typed }));
    }
  };
  const later = () => { clearTimeout(saveTimer); saveTimer = setTimeout(save, AUTOSAVE_MS); };
  document.addEventListener("input", (event) => { if (form() && event.target.form === form()) later(); });
  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden" && saveTimer) save(); });

  // htmx: one request at a time; incomplete (422) and refused (409) answers are shown.
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.verb === "post") event.detail.parameters.csrfmiddlewaretoken = cookie("csrftoken");
  });
  document.addEventListener("htmx:beforeRequest", () => {
    busy = true;
    clearTimeout(saveTimer);
    saveTimer = 0;
    state("busy", "Saving…");
  });
  document.addEventListener("htmx:afterRequest", () => { busy = false; });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if ([422, 409].includes(event.detail.xhr.status)) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
  });

  // Undo stands there for ten seconds; after that, the way to a correction is the list of one's judgements.
  const countDown = () => {
    clearInterval(undoTimer);
    const undo = byId("undo-form");
    if (!undo) return;
    let left = UNDO_SECONDS;
    const show = () => {
      undo.querySelector("[data-countdown]").textContent = `${left} s`;
      if (left > 0) left -= 1;
      else {
        clearInterval(undoTimer);
        if (undo.contains(document.activeElement)) byId("item-title").focus({ preventScroll: true });
        undo.remove();
      }
    };
    show();
    undoTimer = setInterval(show, 1000);
  };

  // An error is gone to; where there is none, the first question that is open is marked.
  const arrive = () => {
    ["signed-out", "not-saved", "kept"].forEach((id) => { byId(id).hidden = true; });
    state("saved", byId("undo-form") ? "Saved" : "");
    countDown();
    document.dispatchEvent(new CustomEvent("rating:arrive"));
    if (!form()) return;
    mark(unanswered() || questions()[0]);
    const error = form().querySelector(".error");
    if (error) {
      const where = error.closest("fieldset, .field, .field-error, .marking");
      (where.querySelector("input:not([type=hidden]), textarea, select") || where).focus();
      error.scrollIntoView({ block: "nearest" });
    } else byId("refused")?.focus();
  };
  document.addEventListener("htmx:afterSwap", () => {
    byId("item-title").focus({ preventScroll: true });
    arrive();
  });
  // Once the files beside this one have been read too.
  document.addEventListener("DOMContentLoaded", arrive);

  // A choice about the page, kept with the account; it holds on this page even where that fails.
  const keepSetting = (name, value) => {
    settings[name] = value;
    const data = new FormData();
    data.set("name", name);
    data.set("value", value);
    fetch(settings.layout, { method: "POST", body: withToken(data), keepalive: true }).catch(() => {});
  };
  const submit = () => form()?.requestSubmit(byId("submit"));

  return { byId, form, settings, choose, answer, step, save, submit, state, withToken, keepSetting, isBusy: () => busy };
})();
