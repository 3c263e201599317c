/* Nothing is lost: a submit that could not be sent is kept in this browser and sent once the server answers again,
   also after a reload or a closed tab; and signing in again happens on the page.

   Privacy: browsers of ward computers are shared. What is kept is what the person chose or typed, never the case nor an
   output as it was; the edited ideal and a quoted passage are the person's own words in this sense. It lies under a key
   that names the person and the item, is read only on pages of that person, and is deleted as soon as the server has
   acknowledged it, or when the person signs out (app.js asks first). Nobody else's page shows or sends it. */
"use strict";

(() => {
  const { byId, form, settings, state, withToken, submit, save } = window.rating;
  const RETRY_MS = 10000;
  const AWAY = [502, 503, 504]; // a proxy says that the server behind it can't be reached
  const MINE = `medprefs:kept:${settings.user}:`;

  // Entries: {kind: "answer" | "draft" | "harm", url, fields: [[name, value], …]}. Private windows may refuse to store.
  const keep = (id, entry) => { try { localStorage.setItem(MINE + id, JSON.stringify(entry)); } catch { /* stays on the page */ } };
  const drop = (id) => { try { localStorage.removeItem(MINE + id); } catch { /* nothing was stored */ } };
  const read = (id) => { try { return JSON.parse(localStorage.getItem(MINE + id)); } catch { return null; } };
  const ids = () => {
    try { return Object.keys(localStorage).filter((key) => key.startsWith(MINE)).map((key) => key.slice(MINE.length)); } catch { return []; }
  };
  const typed = (data) => [...data.entries()].filter(([name]) => name !== "csrfmiddlewaretoken");
  const assignment = () => form()?.elements.assignment.value;

  const tell = (text) => {
    byId("told").querySelector("p").textContent = text;
    byId("told").hidden = false;
  };
  const hold = (on) => { if (form()) form().inert = on; };

  // What could not be sent stays as it was submitted until it is; changing it takes it back.
  const holdAnswer = () => {
    keep(assignment(), { kind: "answer", url: form().getAttribute("action"), fields: typed(new FormData(form())) });
    hold(true);
  };
  const isSubmit = (event) => event.detail.pathInfo?.requestPath === form()?.getAttribute("action");
  const unreachable = (event) => {
    state("offline", "Offline");
    if (!isSubmit(event)) { byId("not-saved").hidden = false; return; }
    holdAnswer();
    byId("kept").hidden = false;
  };
  document.addEventListener("htmx:sendError", unreachable);
  document.addEventListener("htmx:timeout", unreachable);
  document.addEventListener("htmx:responseError", (event) => {
    const { status } = event.detail.xhr;
    if ([422, 409].includes(status)) return;
    if (AWAY.includes(status)) unreachable(event);
    else if (status === 404) sendKept(); // the item isn't this person's any more, or somebody else has signed in
    else { byId("not-saved").hidden = false; state("offline", "Not saved"); }
  });
  // Acknowledged, shown again with what is missing, or refused: in each case the server has it.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.shouldSwap && isSubmit(event)) drop(assignment());
  });
  byId("take-back").addEventListener("click", () => {
    drop(assignment());
    hold(false);
    byId("kept").hidden = true;
    byId("signed-out").hidden = true;
    save();
  });

  // A draft that could not be sent comes back with the page.
  document.addEventListener("rating:draft-failed", (event) => {
    const id = event.detail.get("assignment");
    if (read(id)?.kind !== "answer") keep(id, { kind: "draft", fields: typed(event.detail) });
  });
  document.addEventListener("rating:draft-kept", (event) => {
    const id = event.detail.get("assignment");
    if (read(id)?.kind === "draft") drop(id);
  });
  const fill = (fields) => {
    const names = new Set(fields.map(([name]) => name));
    [...form().elements].filter((field) => field.name && field.name !== "csrfmiddlewaretoken").forEach((field) => {
      if (field.type === "radio" || field.type === "checkbox") {
        field.checked = fields.some(([name, value]) => name === field.name && value === field.value);
      } else if (names.has(field.name)) field.value = fields.find(([name]) => name === field.name)[1];
    });
    document.querySelectorAll("#ideal, .marking").forEach((details) => {
      details.open ||= [...names].some((name) => details.querySelector(`[name="${name}"]`) && fields.find(([one]) => one === name)[1]);
    });
  };

  // Who is signed in? "" where nobody is; an exception where the server can't be reached.
  const who = async (response) => (response.url.includes(settings.me) ? (await response.json()).user : "");
  const askWho = async () => {
    const response = await fetch(settings.me);
    if (AWAY.includes(response.status)) throw new Error(response.statusText);
    return who(response);
  };

  // Send everything this person has left here. The same answer twice is one judgement, so a lost reply does no harm.
  const OUTCOMES = {
    409: "An answer that was kept in this browser was not taken: that item is closed, or was answered differently elsewhere. Your judgements show what stands.",
    422: "An answer that was kept in this browser lacks something; it is kept as a draft of its item.",
    404: "An answer that was kept in this browser was for an item that is no longer yours, and was deleted.",
  };
  const sendOther = async (id, entry) => {
    const data = new FormData();
    entry.fields.forEach(([name, value]) => data.append(name, value));
    const response = await fetch(entry.url, { method: "POST", body: withToken(data), headers: { Accept: "application/json" } });
    if (response.status >= 500 || response.status === 403 || (response.redirected && response.url.includes(settings.signIn))) return;
    drop(id);
    if (OUTCOMES[response.status]) tell(OUTCOMES[response.status]);
    else tell(entry.kind === "harm" ? "Your harm report has been sent, and is on the lead's page." : "An answer that was kept in this browser has been sent.");
  };
  let sending = false;
  async function sendKept() {
    if (sending) return;
    sending = true;
    try {
      const user = await askWho();
      if (!user) return signedOut();
      if (user !== settings.user) return somebodyElse();
      byId("signed-out").hidden = true;
      byId("kept").hidden = true;
      for (const id of ids()) {
        const entry = read(id);
        if (!entry || (id === assignment() && entry.kind !== "harm")) continue;
        if (entry.kind !== "draft") await sendOther(id, entry);
      }
      sendOwn();
    } catch {
      state("offline", "Offline");
      byId("kept").hidden = read(assignment())?.kind !== "answer";
    } finally {
      sending = false;
    }
    return undefined;
  }
  // The item on this page: an answer goes the usual way, so that what is missing or refused is shown in its place.
  const sendOwn = () => {
    const entry = form() && read(assignment());
    hold(false);
    if (!entry) { state("saved", ""); return; }
    fill(entry.fields);
    if (entry.kind === "answer") submit();
    else save();
  };
  window.addEventListener("online", sendKept);
  window.addEventListener("offline", () => state("offline", "Offline"));
  setInterval(() => { if (ids().length && navigator.onLine && !byId("sign-in").open && byId("signed-out").hidden) sendKept(); }, RETRY_MS);
  document.addEventListener("DOMContentLoaded", () => {
    if (!navigator.onLine) state("offline", "Offline");
    if (ids().length) { hold(true); sendKept().finally(() => hold(Boolean(form() && read(assignment())?.kind === "answer"))); }
  });

  // Signed out: sign in on the page, and the answer is sent.
  const dialog = byId("sign-in");
  const signedOut = () => {
    byId("kept").hidden = true;
    byId("signed-out").hidden = false;
    state("offline", "Signed out");
    if (!dialog.open) dialog.showModal();
    byId("sign-in-password").focus();
  };
  document.addEventListener("medprefs:signed-out", () => {
    if (form()) holdAnswer();
    signedOut();
  });
  byId("open-sign-in").addEventListener("click", signedOut);
  const somebodyElse = () => {
    // Their page, not this one: nothing is sent, and what is kept waits for whoever typed it.
    if (dialog.open) dialog.close();
    byId("somebody-else").showModal();
  };
  byId("load-own-page").addEventListener("click", () => window.location.reload());
  byId("somebody-else").addEventListener("cancel", (event) => event.preventDefault());
  const refuse = (text) => {
    byId("sign-in-error").textContent = text;
    byId("sign-in-error").hidden = false;
    byId("sign-in-password").focus();
  };
  byId("sign-in-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const data = withToken(new FormData(event.target));
    data.set("next", settings.me);
    try {
      const response = await fetch(settings.signIn, { method: "POST", body: data });
      const user = await who(response);
      if (!user) return refuse(response.status === 429 ? "Too many wrong passwords. Wait ten minutes." : "That is not the right username and password.");
      event.target.reset();
      byId("sign-in-error").hidden = true;
      dialog.close();
      return user === settings.user ? sendKept() : somebodyElse();
    } catch {
      return refuse("The server can't be reached. Your answer is kept; try again in a moment.");
    }
  });
  document.addEventListener("click", (event) => { if (event.target.matches("[data-close]")) event.target.closest("dialog").close(); });
  Object.assign(window.rating, { keep, drop, typed, tell, signedOut, AWAY });
})();
