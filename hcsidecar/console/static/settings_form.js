// Shows the problems of the draft at the fields of the form that they are about.
"use strict";
(() => {
  function showProblems() {
    const problems = [...document.querySelectorAll("#draft-problems [data-path]")];
    for (const place of document.querySelectorAll("[data-problem]")) {
      const path = place.dataset.problem;
      // A problem may be of an element of a list: `l2.share[1].ports[2]`.
      const here = problems.filter(({ dataset }) => dataset.path === path || dataset.path.startsWith(`${path}[`));
      place.textContent = here.map(({ dataset }) => dataset.text).join(" ");
      const field = place.parentElement.querySelector("[data-path]");
      if (here.length) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    }
  }
  document.addEventListener("DOMContentLoaded", showProblems);
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id === "draft-problems") showProblems();
  });
})();
