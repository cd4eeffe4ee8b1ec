// Completion of the box, and the searches of late: a combobox with a listbox, as ARIA has it.
import { isPlain } from "./keys.js";

const NAME = "searchx-recent";
const KEPT = 20;
const SHOWN = 6;
const PAUSE = 60; // milliseconds without a key before anything is asked

const box = document.getElementById("q");
const popup = document.getElementById("popup");
const list = document.getElementById("completions");
const said = document.getElementById("box-said");
let chosen = -1;
let asking;
let waiting;

function recents() {
  try {
    const kept = JSON.parse(localStorage.getItem(NAME) ?? "[]");
    return Array.isArray(kept) ? kept.filter((one) => typeof one === "string") : [];
  } catch {
    return [];
  }
}

// What was searched for stays in this browser.
function remember(words) {
  if (!words) return;
  const kept = [words, ...recents().filter((one) => one !== words)].slice(0, KEPT);
  try {
    localStorage.setItem(NAME, JSON.stringify(kept));
  } catch {
    // a browser that keeps nothing
  }
}

function forget() {
  try {
    localStorage.removeItem(NAME);
  } catch {
    // a browser that keeps nothing
  }
  close();
  box.focus();
}

function item(text, note, act) {
  const line = document.createElement("li");
  line.id = `completion-${list.children.length}`;
  line.setAttribute("role", "option");
  line.setAttribute("aria-selected", "false");
  for (const [value, name] of [[text, "bdi"], [note, "span"]]) {
    if (!value) continue;
    const part = document.createElement(name);
    part.textContent = value;
    if (name === "span") part.className = "n";
    line.append(part);
  }
  line.addEventListener("pointerdown", (event) => event.preventDefault()); // the box keeps the focus
  line.addEventListener("click", act);
  list.append(line);
}

function show(answer) {
  const typed = box.value.trim();
  const known = recents().filter((one) => one !== typed && one.includes(typed)).slice(0, SHOWN);
  list.replaceChildren();
  choose(-1);
  for (const one of answer.options) {
    const label = one.count === null ? one.text : one.value;
    const note = one.count === null ? "" : `${one.key}: ${one.count.toLocaleString(document.documentElement.lang)}`;
    item(label, note, () => take(answer, one.text));
  }
  for (const one of known) {
    item(one, said.dataset.recent, () => {
      box.value = one;
      box.form.requestSubmit();
    });
  }
  popup.querySelector(".recents").hidden = !known.length;
  popup.hidden = !list.children.length;
  box.setAttribute("aria-expanded", String(!popup.hidden));
  said.textContent = popup.hidden ? "" : said.dataset.count.replace("{n}", list.children.length);
}

function close() {
  clearTimeout(waiting);
  asking?.abort();
  popup.hidden = true;
  box.setAttribute("aria-expanded", "false");
  said.textContent = "";
  choose(-1);
}

function choose(place) {
  list.children[chosen]?.setAttribute("aria-selected", "false");
  chosen = place;
  const line = list.children[chosen];
  line?.setAttribute("aria-selected", "true");
  line?.scrollIntoView({ block: "nearest" });
  if (line) box.setAttribute("aria-activedescendant", line.id);
  else box.removeAttribute("aria-activedescendant");
}

// The server counts characters, the script halves of some.
function take(answer, text) {
  const signs = Array.from(answer.q);
  const before = signs.slice(0, answer.start).join("") + text;
  const after = signs.slice(answer.end).join("").trimStart();
  box.value = before + after;
  box.setSelectionRange(before.length, before.length);
  ask();
}

async function ask() {
  asking?.abort();
  asking = new AbortController();
  const q = box.value;
  const at = Array.from(q.slice(0, box.selectionStart)).length;
  if (!q.trim()) {
    show({ q, options: [] });
    return;
  }
  try {
    const address = `/api/complete?${new URLSearchParams({ q, at })}`;
    const answer = await fetch(address, { signal: asking.signal });
    if (answer.ok) show({ q, ...(await answer.json()) });
  } catch {
    // asked again with the next key; typing goes on without completion
  }
}

function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(ask, PAUSE);
}

function step(key) {
  const count = list.children.length;
  const down = key === "ArrowDown";
  choose(chosen < 0 && !down ? count - 1 : ((chosen + (down ? 2 : 0)) % (count + 1)) - 1);
}

if (box && popup) {
  const wasAsked = new URLSearchParams(location.search);
  if (location.pathname === "/" && !wasAsked.has("random")) remember(wasAsked.get("q")?.trim());
  box.setAttribute("role", "combobox");
  box.setAttribute("aria-autocomplete", "list");
  box.setAttribute("aria-controls", "completions");
  box.setAttribute("aria-expanded", "false");
  box.addEventListener("input", soon);
  box.addEventListener("click", () => popup.hidden && ask());
  box.addEventListener("keydown", (event) => {
    if (!isPlain(event)) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (popup.hidden) ask();
      else step(event.key);
    } else if (event.key === "Enter" && chosen >= 0) {
      event.preventDefault();
      list.children[chosen].click();
    } else if (event.key === "Escape") {
      event.preventDefault();
      if (popup.hidden) box.blur();
      else close();
    }
  });
  box.form.addEventListener("focusout", (event) => {
    if (!popup.contains(event.relatedTarget) && event.relatedTarget !== box) close();
  });
  popup.querySelector(".clear").addEventListener("click", forget);
}
