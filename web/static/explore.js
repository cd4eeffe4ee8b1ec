// Comfort only: every state of these pages has an address and works without this file.
"use strict";

// The arrows lead from tile to tile, as the eye goes.
const tiles = Array.from(document.querySelectorAll(".tile"));
document.addEventListener("keydown", (event) => {
  const here = tiles.indexOf(document.activeElement);
  if (here < 0 || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  const top = tiles[here].getBoundingClientRect().top;
  const row = tiles.filter((one) => Math.abs(one.getBoundingClientRect().top - top) < 4).length;
  const all = { ArrowRight: 1, ArrowLeft: -1 };
  const starts = tiles.findIndex((one) => Math.abs(one.getBoundingClientRect().left - tiles[0].getBoundingClientRect().left) < 4 && one !== tiles[0]);
  const wide = starts > 0 ? starts : row;
  const step = { ...all, ArrowDown: wide, ArrowUp: -wide }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  tiles[Math.max(0, Math.min(tiles.length - 1, here + step))].focus();
});

for (const button of document.querySelectorAll(".copier")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const area = button.parentElement.querySelector("textarea");
    try {
      await navigator.clipboard.writeText(area.value.trim());
    } catch {
      area.select();
      document.execCommand("copy"); // on a page without https
    }
    button.textContent = button.dataset.done;
  });
}

// What goes on changes; the page asks again now and then while somebody looks at it.
const changing = document.querySelector("[data-refresh]");
if (changing) {
  let seconds = Number(changing.dataset.refresh);
  const again = () => window.setTimeout(refresh, 1000 * seconds);
  const refresh = async () => {
    if (document.hidden) return again();
    if (!changing.dataset.part) return window.location.reload();
    const focused = document.activeElement;
    const busy = (focused && focused !== document.body && changing.contains(focused)) || !window.getSelection().isCollapsed;
    if (busy) return again();
    const began = performance.now();
    try {
      const answer = await fetch(window.location.href, { headers: { accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const part = page.getElementById(changing.dataset.part);
      if (answer.ok && part) {
        changing.replaceChildren(...part.childNodes);
        // a library so large that it takes long to count is asked less often
        seconds = Math.max(Number(part.dataset.refresh), (performance.now() - began) / 100);
      }
    } catch {
      seconds = 15; // the server is away; it may come back
    }
    return again();
  };
  again();
}
