// Endless scrolling: the next page is fetched before the end of this one is reached. The address
// stays that of the search; where one was is kept in the history, so that going back leads there.
const AHEAD = "1500px";
const NAME = "searchx-place";
const hits = document.getElementById("hits");
const said = document.getElementById("said");
let loaded = []; // what asks for each page after the first
let isLoading = false;

function next() {
  return hits.querySelector(".further [rel=next]");
}

async function fetched(search) {
  const answer = await fetch(`/more${search}`);
  if (!answer.ok) throw new Error(answer.statusText);
  const markup = new DOMParser().parseFromString(await answer.text(), "text/html");
  return markup.getElementById("hits");
}

// Adds a page to what is there. Nothing is put above what is seen: once the weak have begun, and
// where all are weak from the first on, all goes into the last list.
function add(more) {
  const bands = [...hits.querySelectorAll(".band")];
  const isParted = hits.querySelector(".divide") !== null;
  const isOne = isParted || (bands.length > 0 && bands.at(-1).dataset.band === "weak");
  const known = new Set([...hits.querySelectorAll("li[id]")].map((one) => one.id));
  let count = 0;
  const further = hits.querySelector(".further");
  for (const part of [...more.children]) {
    if (part.matches(".hits")) {
      const fresh = [...part.children].filter((one) => !known.has(one.id));
      const list = isOne
        ? [...hits.querySelectorAll(".hits")].at(-1)
        : hits.querySelector(`.hits[data-part="${part.dataset.part}"]`);
      count += fresh.length;
      if (list) list.append(...fresh);
      else further.before(part);
    } else if (part.matches(".divide") && !isOne) {
      further.before(part);
    }
  }
  const link = more.querySelector(".further [rel=next]");
  if (link) next().replaceWith(link);
  else further.remove();
  return count;
}

async function load() {
  const link = next();
  if (!link || isLoading) return;
  isLoading = true;
  hits.setAttribute("aria-busy", "true");
  const { search } = new URL(link.href);
  try {
    const count = add(await fetched(search));
    loaded.push(search);
    said.textContent = hits.dataset.said.replace("{n}", count);
    watch();
  } catch {
    said.textContent = hits.dataset.failed; // the link still leads to the next page
  }
  hits.removeAttribute("aria-busy");
  isLoading = false;
}

const ends = new IntersectionObserver(
  (seen) => {
    if (seen.some((one) => one.isIntersecting)) load();
  },
  { rootMargin: AHEAD },
);

function watch() {
  ends.disconnect();
  if (next()) ends.observe(next());
}

// Where one is: the pages that were loaded, and what stands at the top.
function here() {
  const top = [...hits.querySelectorAll("li[id]")].find((one) => one.getBoundingClientRect().bottom > 80);
  return { loaded, id: top?.id, offset: top?.getBoundingClientRect().top ?? 0 };
}

function keep() {
  history.replaceState({ ...history.state, place: here() }, "");
}

function recall() {
  const kind = performance.getEntriesByType("navigation")[0]?.type;
  const address = location.pathname + location.search;
  let left;
  try {
    left = JSON.parse(sessionStorage.getItem(NAME));
    sessionStorage.removeItem(NAME);
  } catch {
    left = null;
  }
  if (kind === "back_forward" || kind === "reload") return history.state?.place;
  return left?.address === address ? left.place : undefined; // back by a link of an item's page
}

async function restore(place) {
  isLoading = true;
  try {
    for (const more of await Promise.all(place.loaded.map(fetched))) add(more);
    loaded = [...place.loaded];
  } catch {
    // the library has changed: the first page is there
  }
  isLoading = false;
  const top = document.getElementById(place.id);
  if (top) scrollBy({ top: top.getBoundingClientRect().top - place.offset, behavior: "instant" });
}

async function begin() {
  history.scrollRestoration = "manual";
  const place = location.hash ? undefined : recall();
  if (place) await restore(place);
  watch();
  addEventListener("pagehide", keep);
  hits.addEventListener("click", (event) => {
    if (event.target.closest(".further [rel=next]")) {
      event.preventDefault();
      load();
    } else if (event.target.closest(".open, .picture")) {
      keep();
      try {
        const address = location.pathname + location.search;
        sessionStorage.setItem(NAME, JSON.stringify({ address, place: here() }));
      } catch {
        // a browser that keeps nothing
      }
    }
  });
}

if (hits) begin();
