"use strict";
// A link into a folded part opens it, also where the browser does not do so by itself.
const unfold = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  for (let part = target; part; part = part.parentElement) {
    if (part.tagName === "DETAILS") part.open = true;
  }
  target && target.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();

// Tables of class "sortable": a column is sorted by its button, rows are chosen by their class.
for (const box of document.querySelectorAll(".sortable")) {
  const body = box.querySelector("tbody");
  const rows = [...body.rows];
  const select = box.querySelector("select");
  const count = box.querySelector("output");

  const choose = () => {
    let shown = 0;
    for (const row of rows) {
      row.hidden = select.value !== "" && row.dataset.label !== select.value;
      shown += !row.hidden;
    }
    const number = (value) => value.toLocaleString(document.documentElement.lang);
    count.value = count.dataset.text.replace("{shown}", number(shown)).replace("{total}", number(rows.length));
  };

  const sort = (header) => {
    const down = header.getAttribute("aria-sort") === "ascending";
    const key = (row) => row.cells[header.cellIndex].dataset.value ?? row.cells[header.cellIndex].textContent.trim();
    const number = header.classList.contains("number");
    const compare = number ? (a, b) => key(a) - key(b) : (a, b) => key(a).localeCompare(key(b));
    rows.sort((a, b) => (down ? -compare(a, b) : compare(a, b)));
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  };

  for (const header of box.querySelectorAll("th[data-sort]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent.trim();
    button.addEventListener("click", () => sort(header));
    header.replaceChildren(button);
  }
  select.addEventListener("change", choose);
  choose();
  box.querySelector(".controls").hidden = false;
}
