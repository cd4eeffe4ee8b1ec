// Comfort only: every state of this page has an address and works without this file.
import { isPlain, isTyping } from "./keys.js";

const NEAREST = 8; // times as large as it is
const STEP = 1.25;
const SWIPE = 60; // pixels
const find = (id) => document.getElementById(id);
const [stage, canvas, picture, veil] = ["stage", "canvas", "picture", "veil"].map(find);
const viewer = find("viewer");

// --- zoom: the canvas with the picture and its heat is moved and scaled as one ---

const view = { scale: 1, x: 0, y: 0 };
const base = () => ({ width: canvas.offsetWidth, height: canvas.offsetHeight });
const own = () => Number(stage.dataset.width) || picture.naturalWidth;
// the scale at which one pixel of the picture is one of the screen
const full = () => own() / (base().width * window.devicePixelRatio);
const most = () => Math.max(NEAREST * full(), 4);

function held(offset, size, room, scale) {
  const left = (room - size) / 2; // where the canvas lies unscaled
  const spare = room - size * scale;
  return spare >= 0 ? spare / 2 - left : Math.min(-left, Math.max(spare - left, offset));
}

function show() {
  const { width, height } = base();
  view.x = held(view.x, width, stage.clientWidth, view.scale);
  view.y = held(view.y, height, stage.clientHeight, view.scale);
  const still = view.scale === 1;
  canvas.style.transform = still ? "" : `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  stage.classList.toggle("is-zoomed", !still);
  const percent = find("percent");
  percent.hidden = still;
  percent.textContent = percent.dataset.say.replace("PERCENT", String(Math.round((100 * view.scale) / full())));
  if (view.scale * window.devicePixelRatio > 1.5 && picture.srcset) sharpen();
}

function sharpen() {
  const large = new Image();
  large.src = stage.dataset.full;
  picture.removeAttribute("sizes");
  large.decode().then(() => {
    picture.removeAttribute("srcset");
    picture.src = large.src;
  }, () => {});
}

// zoom about a point of the stage, which stays where it is
function zoom(scale, point) {
  const at = point ?? { x: stage.clientWidth / 2, y: stage.clientHeight / 2 };
  const next = Math.min(most(), Math.max(1, scale));
  const { width, height } = base();
  const left = (stage.clientWidth - width) / 2;
  const top = (stage.clientHeight - height) / 2;
  view.x = at.x - left - ((at.x - left - view.x) * next) / view.scale;
  view.y = at.y - top - ((at.y - top - view.y) * next) / view.scale;
  view.scale = Math.abs(next - 1) < 0.01 ? 1 : next;
  show();
}

const pointOf = (event) => {
  const place = stage.getBoundingClientRect();
  return { x: event.clientX - place.left, y: event.clientY - place.top };
};

function watchZoom() {
  document.querySelector(".zooms").hidden = false;
  find("in").addEventListener("click", () => zoom(view.scale * STEP));
  find("out").addEventListener("click", () => zoom(view.scale / STEP));
  find("fit").addEventListener("click", () => zoom(1));
  find("full").addEventListener("click", () => zoom(full()));
  window.addEventListener("resize", show);
  stage.addEventListener("dblclick", (event) => zoom(view.scale === 1 ? Math.max(full(), 2) : 1, pointOf(event)));
  stage.addEventListener("wheel", (event) => {
    // a wheel that cannot zoom any further, or that is on its way back up the page, scrolls
    const out = event.deltaY > 0;
    if (!event.ctrlKey && ((out && view.scale === 1) || (!out && view.scale === 1 && window.scrollY > 0))) return;
    event.preventDefault();
    zoom(view.scale * Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), pointOf(event));
  }, { passive: false });
}

// --- fingers: one moves or swipes, two pinch ---

const fingers = new Map();
const between = () => {
  const [a, b] = [...fingers.values()];
  return { apart: Math.hypot(a.x - b.x, a.y - b.y), middle: { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 } };
};
let began = null;

function watchFingers() {
  picture.draggable = false;
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    fingers.set(event.pointerId, pointOf(event));
    began = fingers.size === 1 ? pointOf(event) : null; // two are no swipe
    if (view.scale > 1 || fingers.size > 1) stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const now = pointOf(event);
    if (fingers.size === 2) {
      const before = between();
      fingers.set(event.pointerId, now);
      const after = between();
      zoom((view.scale * after.apart) / Math.max(before.apart, 1), after.middle);
      return;
    }
    fingers.set(event.pointerId, now);
    if (view.scale > 1) {
      view.x += now.x - last.x;
      view.y += now.y - last.y;
      show();
    }
  });
  const lift = (event) => {
    if (!fingers.delete(event.pointerId)) return;
    const now = pointOf(event);
    if (event.type === "pointerup" && event.pointerType !== "mouse" && began && view.scale === 1) swipe(now.x - began.x, now.y - began.y);
    began = null;
  };
  stage.addEventListener("pointerup", lift);
  stage.addEventListener("pointercancel", lift);
}

function swipe(across, down) {
  if (Math.abs(across) < SWIPE || Math.abs(across) < 2 * Math.abs(down)) return;
  walk(across < 0 ? "next" : "prev");
}

// --- the way through the results ---

// what is looked through is one entry of the browser's history: Back leads to the results
function walk(id) {
  const link = find(id);
  if (!link?.href) return;
  const shown = veil && !veil.hidden ? "&why=1" : "";
  window.location.replace(link.href + shown);
}

function watchSteps() {
  for (const id of ["prev", "next"]) {
    const link = find(id);
    if (!link) continue;
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      walk(id);
    });
  }
}

// the neighbours are fetched once the picture itself is there
function fetchNeighbours() {
  for (const link of document.querySelectorAll(".step[data-picture]")) {
    const address = `/items/${link.dataset.picture}/picture`;
    const side = [640, 1280, 2048].find((one) => one >= stage.clientWidth * window.devicePixelRatio) ?? 2048;
    new Image().src = `${address}?side=${side}`;
  }
}

// --- heat ---

function tellHeat(line) {
  find("told").textContent = line;
}

function setHeat(on) {
  const link = find("heat");
  veil.hidden = !on;
  find("legend").hidden = !on;
  link.querySelector("span").textContent = on ? link.dataset.hide : link.dataset.show;
  link.href = on ? link.dataset.plain : link.dataset.shown;
  if (on) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
  window.history.replaceState(null, "", on ? link.dataset.shown : link.dataset.plain);
  tellHeat("");
  if (on && !veil.src) loadHeat();
}

function loadHeat() {
  tellHeat(find("told").dataset.busy);
  veil.src = veil.dataset.src;
}

function watchHeat() {
  const link = find("heat");
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    setHeat(veil.hidden);
  });
  veil.addEventListener("load", () => tellHeat(""));
  veil.addEventListener("error", () => {
    veil.removeAttribute("src");
    setHeat(false);
    tellHeat(find("told").dataset.failed);
  });
  if (!veil.hidden && !veil.complete) tellHeat(find("told").dataset.busy);
}

// --- facts, path ---

function setFacts(shown) {
  viewer.classList.toggle("without-facts", !shown);
  find("facts-switch").setAttribute("aria-expanded", String(shown));
  try {
    window.localStorage.setItem("searchx-facts", shown ? "" : "hidden");
  } catch { /* kept for this page only */ }
  if (picture) show();
}

const hasFacts = () => !viewer.classList.contains("without-facts");

function watchFacts() {
  const button = find("facts-switch");
  button.hidden = false;
  button.addEventListener("click", () => setFacts(!hasFacts()));
  try {
    if (window.localStorage.getItem("searchx-facts") === "hidden" && window.innerWidth > 960) setFacts(false);
  } catch { /* it stays open */ }
}

async function copy() {
  const button = find("copy");
  const label = button.querySelector("span");
  const usual = button.dataset.usual ?? label.textContent;
  button.dataset.usual = usual;
  let said = button.dataset.copied;
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(button.dataset.path);
    else if (!copyPlainly(button.dataset.path)) said = button.dataset.failed;
  } catch {
    said = button.dataset.failed;
  }
  label.textContent = said;
  window.setTimeout(() => { label.textContent = usual; }, 2500);
}

// where the page came over plain HTTP, browsers offer nothing else
function copyPlainly(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  find("copy").focus();
  return done;
}

// --- keys ---

const keys = {
  ArrowLeft: () => walk("prev"),
  ArrowRight: () => walk("next"),
  Escape: () => (picture && view.scale !== 1 ? zoom(1) : find("back")?.click()),
  i: () => setFacts(!hasFacts()),
  h: () => veil && setHeat(veil.hidden),
  d: () => find("download")?.click(),
  c: () => copy(),
};
const zoomKeys = {
  "+": () => zoom(view.scale * STEP),
  "=": () => zoom(view.scale * STEP),
  "-": () => zoom(view.scale / STEP),
  0: () => zoom(1),
  1: () => zoom(full()),
};

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || !isPlain(event) || isTyping(event)) return;
  if (document.querySelector("dialog[open], .by-picture[open]")) return;
  const act = keys[event.key] ?? (picture ? zoomKeys[event.key] : undefined);
  if (!act) return;
  event.preventDefault();
  act();
});

if (picture) {
  watchZoom();
  watchFingers();
  const vanish = () => {
    canvas.hidden = true;
    find("vanished").hidden = false;
    document.querySelector(".zooms").hidden = true;
  };
  picture.addEventListener("error", vanish);
  if (picture.complete && picture.naturalWidth === 0) vanish();
  if (picture.complete) fetchNeighbours();
  else picture.addEventListener("load", fetchNeighbours, { once: true });
}
if (veil) watchHeat();
watchSteps();
watchFacts();
const copier = find("copy");
copier.hidden = false;
copier.addEventListener("click", copy);
document.querySelector(".keys").hidden = false;
