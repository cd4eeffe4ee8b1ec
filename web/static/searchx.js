// Comfort only: every state of the page has an address and works without this file.
"use strict";

const box = document.getElementById("q");
const panel = document.querySelector(".by-picture");
const form = document.querySelector(".panel");

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input:not([type=radio]), textarea, select, [contenteditable]");
  if (event.key === "/" && box && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    box.focus();
    box.select();
  }
  if (event.key === "Escape" && panel?.open) {
    panel.open = false;
    panel.querySelector("summary").focus();
  }
});

function say(line) {
  const place = form.querySelector(".line");
  place.textContent = line;
  place.hidden = !line;
  panel.open = true;
}

function isRefused(file) {
  const limit = Number(form.dataset.limit);
  if (file.size > limit) {
    say(`${file.name} is larger than ${Math.floor(limit / 2 ** 20)} MiB; choose a smaller picture`);
    return true;
  }
  return false;
}

function ask(file) {
  if (isRefused(file)) return;
  const chosen = new DataTransfer();
  chosen.items.add(file);
  form.elements.image.files = chosen.files;
  form.requestSubmit();
}

function isPicture(file) {
  return file.type.startsWith("image/") || /\.(heic|heif|avif)$/i.test(file.name);
}

function takeFrom(transfer) {
  const files = Array.from(transfer?.files ?? []);
  const picture = files.find(isPicture);
  if (picture) ask(picture);
  else if (files.length) say(`${files[0].name} is not a picture`);
  return files.length > 0;
}

if (form) {
  form.classList.add("instant"); // a chosen picture is sent at once; words can be added to its results
  form.elements.image.addEventListener("change", (event) => {
    const file = event.target.files[0];
    if (file && isRefused(file)) event.target.value = "";
    else if (file) form.requestSubmit();
  });
  form.addEventListener("submit", () => {
    const kind = document.querySelector(".switch input:checked");
    if (kind) form.elements.to.value = kind.value;
  });
  document.addEventListener("paste", (event) => {
    if (takeFrom(event.clipboardData)) event.preventDefault();
  });
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("dragging");
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    takeFrom(event.dataTransfer);
  });
}

document.addEventListener("submit", () => document.body.classList.add("busy"));
// a page that comes back from the browser's history must not look busy
window.addEventListener("pageshow", () => document.body.classList.remove("busy"));

for (const image of document.querySelectorAll(".picture img")) {
  const fail = () => image.parentElement.classList.add("missing");
  if (image.complete && image.naturalWidth === 0 && image.loading !== "lazy") fail();
  image.addEventListener("error", fail);
}
