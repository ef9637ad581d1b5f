// Makes editors with colours of the text areas of the settings page; without this file they are text areas.
"use strict";
const script = document.getElementById("settings-script");
const { editTextarea } = await import(script.dataset.editor);
for (const area of document.querySelectorAll("textarea[data-language]")) {
  editTextarea(area, { language: area.dataset.language });
}
