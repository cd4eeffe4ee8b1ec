// Comfort only: every state of the page has an address and works without these files.
import "./look.js";
import "./keys.js";
import "./picture.js";
import "./grid.js";
import "./box.js";
import "./scroll.js";

document.addEventListener("submit", (event) => {
  if (event.target.method !== "dialog") document.body.classList.add("busy");
});
// a page that comes back from the browser's history must not look busy
window.addEventListener("pageshow", () => document.body.classList.remove("busy"));
