document.addEventListener("DOMContentLoaded", () => {
  // A click on a heading of a table of class "sortable" sorts it, by number where all of a column are numbers.
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
  // What scrolls can be reached by keyboard, also once it is unfolded or its formula is set.
  const sizes = new ResizeObserver((changes) => changes.forEach(({ target }) => {
    target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
  }));
  document.querySelectorAll(".bd-article :is(pre, .output, .pst-scrollable-table-container, div.math)")
    .forEach((each) => sizes.observe(each));
  // A fold is called what it shows; a quiz says what belongs together, and what comes of an answer.
  document.querySelectorAll("details.hide > summary").forEach((each) => each.removeAttribute("aria-label"));
  new MutationObserver(() => document.querySelectorAll(".Quiz").forEach((quiz) => {
    quiz.querySelector(".Answer").setAttribute("role", "radiogroup");
    quiz.querySelector(".Answer").setAttribute("aria-labelledby", quiz.querySelector(".MultipleChoiceQn").id);
    quiz.querySelector(".Feedback").setAttribute("aria-live", "polite");
  })).observe(document.querySelector("main"), { childList: true, subtree: true });
});
// Paper is white in the dark theme, too.
const theme = document.documentElement.dataset;
let shown;
window.addEventListener("beforeprint", () => { [shown, theme.theme] = [theme.theme, "light"]; });
window.addEventListener("afterprint", () => { theme.theme = shown; });
