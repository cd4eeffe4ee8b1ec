// Keys that work wherever nothing is typed: / goes to the box, ? tells the keys.
const TYPED = "input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]";

export function isTyping(event) {
  return Boolean(event.target.closest?.(TYPED));
}

export function isPlain(event) {
  return !event.ctrlKey && !event.metaKey && !event.altKey && !event.isComposing;
}

const dialog = document.getElementById("keys");

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || !isPlain(event) || isTyping(event) || dialog?.open) return;
  const box = document.getElementById("q");
  if (event.key === "/" && box) {
    event.preventDefault();
    box.focus();
    box.select();
  } else if (event.key === "?" && dialog) {
    event.preventDefault();
    dialog.showModal();
  }
});

for (const opener of document.querySelectorAll("[data-keys]")) {
  opener.addEventListener("click", () => dialog.showModal());
}
