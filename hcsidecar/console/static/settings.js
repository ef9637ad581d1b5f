// Makes editors with colours of the text areas of the settings page, and shows the problems of the draft at their lines
// and fields; without this file they are text areas, with the problems below.
"use strict";
const script = document.getElementById("settings-script");
const { editTextarea } = await import(script.dataset.editor);
const editors = new Map();
for (const area of document.querySelectorAll("textarea[data-language]")) {
  editors.set(area.dataset.file, editTextarea(area, { language: area.dataset.language }));
}

function showProblems() {
  const problems = [...document.querySelectorAll("#draft-problems [data-file]")];
  for (const [file, editor] of editors) {
    const here = problems.filter((problem) => problem.dataset.file === file && problem.dataset.line);
    editor.setDiagnostics(here.map(({ dataset }) => ({ line: Number(dataset.line), message: dataset.message })));
  }
}

showProblems();
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id === "draft-problems") showProblems();
});
