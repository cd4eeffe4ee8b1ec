// A picture to search by: dropped anywhere, pasted anywhere, or chosen.
const panel = document.querySelector(".by-picture");
const form = document.querySelector(".panel");
const box = document.getElementById("q");

function tell(line) {
  const place = form.querySelector(".line");
  place.textContent = line;
  place.hidden = !line;
  panel.open = true;
}

function isRefused(file) {
  const limit = Number(form.dataset.limit);
  if (file.size <= limit) return false;
  const most = Math.floor(limit / 2 ** 20);
  tell(form.dataset.large.replace("{name}", () => file.name).replace("{limit}", () => most));
  return true;
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
  else if (files.length) tell(form.dataset.other.replace("{name}", () => files[0].name));
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
    // words that stand in the box and were not searched for yet belong to the picture
    if (box && box.value !== box.defaultValue && !form.elements.q.value) form.elements.q.value = box.value;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !panel.open) return;
    event.preventDefault();
    panel.open = false;
    panel.querySelector("summary").focus();
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
