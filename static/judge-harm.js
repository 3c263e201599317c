/* A harm report: told to the lead at once, beside the answer and independent of it. */
"use strict";

(() => {
  const { byId, withToken, keep, typed, tell, signedOut, settings, AWAY } = window.rating;

  // randomUUID is there on secure pages only; a demo on a plain address has the other way.
  const newId = () => {
    if (crypto.randomUUID) return crypto.randomUUID();
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  };

  // The passage is what was selected; what it is about, the pane it was selected in.
  const begin = () => {
    const sheet = byId("harm-form");
    const selection = window.getSelection();
    const quote = selection.toString().trim();
    sheet.reset();
    sheet.elements.id.value = newId();
    showErrors(sheet, {});
    const pane = quote && selection.anchorNode?.parentElement?.closest(".pane");
    if (pane) {
      const outputs = [...document.querySelectorAll(".pane-output")];
      const about = pane.matches(".pane-source") ? "case" : ["left", "right"][outputs.indexOf(pane)];
      sheet.elements.quote.value = quote;
      sheet.querySelector(`[name="about"][value="${about}"]`).checked = true;
    }
    byId("harm").showModal();
    sheet.querySelector("[name=about]:checked, [name=about]").focus();
  };
  document.addEventListener("click", (event) => { if (event.target.closest("#open-harm")) begin(); });

  const showErrors = (sheet, errors) => {
    sheet.querySelectorAll("[data-error]").forEach((place) => {
      const text = errors[place.dataset.error] || "";
      place.textContent = text;
      place.hidden = !text;
      place.closest(".field")?.classList.toggle("field-error", Boolean(text));
    });
    const [first] = Object.keys(errors);
    sheet.querySelector(`[name="${first}"]`)?.focus();
  };
  const missing = (data) => ({
    ...(data.get("about") ? {} : { about: "Say what it is about." }),
    ...(data.get("severity") ? {} : { severity: "Say how bad it could be." }),
    ...(data.get("description").trim() ? {} : { description: "Say what could happen to the patient." }),
  });
  const leave = (text) => {
    byId("harm").close();
    tell(text);
  };
  document.addEventListener("submit", async (event) => {
    if (!event.target.matches("#harm-form")) return; // not by .id: that is the field of this name
    event.preventDefault();
    const sheet = event.target;
    const data = new FormData(sheet);
    const found = missing(data);
    showErrors(sheet, found);
    if (Object.keys(found).length) return;
    const url = sheet.getAttribute("action");
    const later = () => keep(data.get("id"), { kind: "harm", url, fields: typed(data) });
    try {
      const response = await fetch(url, { method: "POST", body: withToken(data), headers: { Accept: "application/json", "X-Requested-With": "fetch" } });
      if (response.redirected && response.url.includes(settings.signIn)) {
        later();
        byId("harm").close();
        signedOut();
      } else if (AWAY.includes(response.status)) throw new Error(response.statusText);
      else if (response.status === 422) showErrors(sheet, (await response.json()).errors);
      else if (!response.ok) showErrors(sheet, { "": "The report was not taken: the server didn't answer as it should. Try again, and tell your lead yourself if it is urgent." });
      else leave("Your report is on the lead's page, and in your list of judgements.");
    } catch {
      later();
      leave("No connection: the report is kept in this browser and is sent by itself once the server can be reached. If it is urgent, tell your lead yourself.");
    }
  });
})();
