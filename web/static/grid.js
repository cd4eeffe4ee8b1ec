// The grid of pictures: the arrow keys move through it, and a picture that cannot be had says so.
import { isPlain, isTyping } from "./keys.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

function links() {
  return [...document.querySelectorAll("main .hits .open")];
}

function middle(link) {
  const place = link.getBoundingClientRect();
  return [place.x + place.width / 2, place.y + place.height / 2, place.height / 2];
}

// The link nearest by, in the next row above or below.
function across(all, from, down) {
  const [x, y, half] = middle(from);
  const beyond = all
    .map((link) => [link, ...middle(link)])
    .filter((one) => (down ? one[2] > y + half : one[2] < y - half));
  if (!beyond.length) return undefined;
  const ys = beyond.map((one) => one[2]);
  const row = down ? Math.min(...ys) : Math.max(...ys);
  const near = beyond.filter((one) => Math.abs(one[2] - row) < one[3] + half / 2);
  return near.reduce((best, one) => (Math.abs(one[1] - x) < Math.abs(best[1] - x) ? one : best))[0];
}

function next(key) {
  const all = links();
  const at = all.indexOf(document.activeElement?.closest(".hits li")?.querySelector(".open"));
  if (at < 0) return all.find((one) => one.getBoundingClientRect().bottom > 120); // the first in sight
  if (key in STEPS) return all[at + STEPS[key]];
  return across(all, all[at], key === "ArrowDown");
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || !isPlain(event) || event.shiftKey || isTyping(event)) return;
  if (document.querySelector("dialog[open]") || !document.querySelector("main .hits")) return;
  const inside = document.activeElement?.closest(".hits");
  if (event.key === "Escape" && inside) {
    const box = document.getElementById("q");
    box?.focus();
    box?.setSelectionRange(box.value.length, box.value.length);
    return;
  }
  if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
  const free = !document.activeElement || document.activeElement === document.body;
  if (!inside && !(free && event.key === "ArrowRight")) return; // the others scroll
  const link = next(event.key);
  if (!link) return;
  event.preventDefault();
  link.focus();
});

function watch(image) {
  const fail = () => image.parentElement.classList.add("missing");
  if (image.complete && image.naturalWidth === 0 && image.loading !== "lazy") fail();
}

for (const image of document.querySelectorAll(".picture img")) watch(image);
// errors of pictures do not bubble; those of pictures that come later are caught here, too
document.addEventListener(
  "error",
  (event) => {
    if (event.target instanceof HTMLImageElement && !event.target.matches(".preview")) {
      event.target.closest(".picture")?.classList.add("missing");
    }
  },
  true,
);
