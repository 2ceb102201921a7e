"use strict";
// Tables are sorted by the column whose head is pressed, once from the largest, once more from the smallest.
for (const table of document.querySelectorAll("table.cells")) {
  const heads = [...table.tHead.rows[0].cells];
  const compare = (one, other) =>
    one === "" || other === "" ? (one === "") - (other === "")
    : isNaN(one) || isNaN(other) ? one.localeCompare(other) : one - other;
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending";
    for (const each of heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row) => [row.cells[column].dataset.sort, row]);
    const known = rows.filter(([value]) => value !== ""), unknown = rows.filter(([value]) => value === "");
    known.sort(([one], [other]) => (down ? -1 : 1) * compare(one, other));
    table.tBodies[0].append(...[...known, ...unknown].map(([, row]) => row));
  }));
}
