// The switch of the theme: as the system, light, dark. theme.js applies what is kept here.
const NAME = "searchx-theme";
const THEMES = ["system", "light", "dark"];
const root = document.documentElement;
const button = document.querySelector(".theme");

function show() {
  const theme = root.dataset.theme ?? "system";
  button.setAttribute("aria-label", button.dataset[theme]);
  button.title = button.dataset[theme];
}

function choose(theme) {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem(NAME);
    else localStorage.setItem(NAME, theme);
  } catch {
    // a browser that keeps nothing: the choice lasts as long as the page
  }
  show();
}

if (button) {
  show();
  button.addEventListener("click", () => {
    const now = THEMES.indexOf(root.dataset.theme ?? "system");
    choose(THEMES[(now + 1) % THEMES.length]);
  });
}
