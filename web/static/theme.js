// Sets the theme that was chosen before anything is drawn; without a choice the system decides.
"use strict";

try {
  const chosen = localStorage.getItem("searchx-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // a browser that keeps nothing
}
document.documentElement.classList.add("scripted");
