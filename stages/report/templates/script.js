// Contents, tables that sort, pictures that enlarge. Without it the page shows everything all the same.
"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

const contents = document.querySelector(".contents");
all("main h2").forEach((heading, number) => {
  heading.id = `part-${number + 1}`;
  const link = document.createElement("a");
  link.href = `#${heading.id}`;
  link.textContent = heading.textContent;
  contents.append(link);
});

const value = (row, column) => (row.cells[column] ? row.cells[column].textContent.trim() : "");
const number = (text) => parseFloat(text.replace(/^[+]/, ""));

function compare(a, b) {
  const [first, second] = [number(a), number(b)];
  if (Number.isNaN(first) || Number.isNaN(second)) {
    return Number.isNaN(first) - Number.isNaN(second) || a.localeCompare(b);
  }
  return first - second;
}

function sort(table, column, header) {
  const down = header.getAttribute("aria-sort") === "ascending";
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => compare(value(a, column), value(b, column)) * (down ? -1 : 1));
  all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...rows);
}

all("table").forEach((table) => {
  if (!table.tHead || table.tBodies[0].rows.length < 2) return;
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const act = () => sort(table, column, header);
    header.tabIndex = 0;
    header.classList.add("sorts");
    header.addEventListener("click", act);
    header.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); }
    });
  });
});

const viewer = document.getElementById("viewer");
all("figure > img, figure > svg").forEach((picture) => {
  const show = () => {
    viewer.replaceChildren(picture.cloneNode(true));
    viewer.showModal();
  };
  picture.classList.add("enlarges");
  picture.setAttribute("tabindex", "0");
  picture.addEventListener("click", show);
  picture.addEventListener("keydown", (event) => { if (event.key === "Enter") show(); });
});
viewer.addEventListener("click", () => viewer.close());
viewer.addEventListener("close", () => viewer.replaceChildren());
