// The pages work without this. It adds the keys 1, 2, 3, guards against a double click, keeps what was filled in over a
// reload, counts the seconds down before which a vote is not taken, copies the code, and keeps the organiser's page fresh.
"use strict";

const form = document.getElementById("vote");
const copy = document.getElementById("copy");
const live = document.getElementById("live");

// A page from the back button's memory may be one that was answered long ago.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

if (form) {
  const buttons = [...form.querySelectorAll("button[name=choice]")];
  const filled = [...form.elements].filter((one) => one.matches("textarea, [type=radio], [name=facts_checked]"));
  const draft = "draft " + form.dataset.token;
  const keys = document.getElementById("keys");
  let sent = false;

  addEventListener("keydown", (event) => {
    if (!keys.checked || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.closest("textarea, input[type=text], select")) return;
    const button = buttons.find((one) => one.dataset.key === event.key);
    if (button && !button.disabled) { event.preventDefault(); button.focus(); button.click(); }
  });

  // The second click of a slow double click falls on the next pair, which nobody has read yet.
  form.addEventListener("submit", (event) => {
    if (sent || performance.now() < 500) { event.preventDefault(); return; }
    sent = true;
    event.submitter?.classList.add("chosen");
  });

  // Single keys are in the way of speech input: they can be switched off.
  keys.closest("p").hidden = false;
  try {
    keys.checked = localStorage.getItem("keys") !== "off";
    keys.addEventListener("change", () => localStorage.setItem("keys", keys.checked ? "on" : "off"));
    for (const other of Object.keys(sessionStorage)) if (other !== draft) sessionStorage.removeItem(other);
    const kept = JSON.parse(sessionStorage.getItem(draft) ?? "{}");
    for (const one of filled) {
      if (one.type === "textarea") one.value = kept[one.name] ?? "";
      else one.checked = kept[one.name] === one.value;
      if (one.value && one.type === "textarea") one.closest("details").open = true;
    }
    form.addEventListener("input", () => {
      const given = filled.filter((one) => one.type === "textarea" || one.checked);
      sessionStorage.setItem(draft, JSON.stringify(Object.fromEntries(given.map((one) => [one.name, one.value]))));
    });
  } catch { /* the browser keeps nothing: so be it */ }

  const told = document.getElementById("wait");
  const until = performance.now() + 1000 * Number(form.dataset.wait);
  const wait = () => {
    const left = Math.ceil((until - performance.now()) / 1000);
    for (const button of buttons) button.disabled = left > 0;
    told.hidden = left <= 0;
    if (left <= 0) return;
    if (!told.textContent) told.textContent = `Please read both answers; you can choose in ${left} s.`;
    setTimeout(wait, Math.min(250, until - performance.now() + 5));
  };
  wait();
}

if (copy && navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector(".code").textContent);
    copy.textContent = "Copied";
  });
}

if (live) {
  const fresh = document.getElementById("fresh");
  const every = 10;
  const say = (text) => { fresh.hidden = false; fresh.textContent = text; };
  const now = () => new Date().toLocaleTimeString();
  say(`Brings itself up to date every ${every} seconds.`);
  setInterval(async () => {
    if (document.hidden || live.contains(document.activeElement)) return;
    try {
      const reply = await fetch(location.href);
      if (!reply.ok) throw new Error(reply.statusText);
      const page = new DOMParser().parseFromString(await reply.text(), "text/html");
      live.replaceChildren(...page.getElementById("live").childNodes);
      say(`Up to date at ${now()}.`);
    } catch { say(`The server does not answer since ${now()}.`); }
  }, 1000 * every);
}
