// A click on a heading of a table of class "sortable" sorts it, by number where all of a column are numbers.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.sortable")) {
    table.querySelectorAll("thead th").forEach((heading, column) => {
      const button = document.createElement("button");
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const ascending = heading.getAttribute("aria-sort") !== "ascending";
        const text = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
        const rows = [...table.tBodies[0].rows];
        const numbers = rows.every((row) => text(row) !== "" && !isNaN(text(row)));
        rows.sort((a, b) => (numbers ? text(a) - text(b) : text(a).localeCompare(text(b))) * (ascending ? 1 : -1));
        table.querySelectorAll("th").forEach((each) => each.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        table.tBodies[0].append(...rows);
      });
    });
  }
});
