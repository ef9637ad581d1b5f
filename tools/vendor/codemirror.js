// The editor of the console's settings page: what `make vendor` bundles into hcsidecar/console/static/vendor/codemirror.js.
//
//   import { editTextarea } from ".../vendor/codemirror.js";
//   const editor = editTextarea(textarea, { language: "toml", phrases: { Find: "Rechercher" } });
//   editor.setDiagnostics([{ line: 3, column: 1, severity: "error", message: "no such key" }]);
//
// The form goes on with the textarea, which is hidden and always has the text of the editor: without scripts it is the
// editor. All styles are constructed style sheets, which `style-src 'self'` allows. Colours are the custom properties
// in `colours` below; where the page sets none, they follow its `color-scheme`.

import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { HighlightStyle, StreamLanguage, bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { python } from "@codemirror/legacy-modes/mode/python";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import { toml } from "@codemirror/legacy-modes/mode/toml";
import { lintGutter, lintKeymap, linter, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState } from "@codemirror/state";
import {
  EditorView,
  drawSelection,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";

const languages = { toml, shell, python };
const indents = { toml: "  ", shell: "  ", python: "    " };

// name of the custom property: [in light, in dark]; each text has a contrast of at least 4.5 with its background.
const colours = {
  "editor-background": ["#ffffff", "#16191d"],
  "editor-text": ["#1f2328", "#e6e8eb"],
  "editor-gutter": ["#59636e", "#9aa4af"],
  "editor-line": ["#f2f5f8", "#1f2429"],
  "editor-selection": ["#b6d7ff", "#264f78"],
  "editor-panel": ["#f2f5f8", "#22272d"],
  "editor-border": ["#c5ccd3", "#454d56"],
  "editor-comment": ["#59636e", "#9aa4af"],
  "editor-keyword": ["#a3123a", "#ff8c9a"],
  "editor-string": ["#0a4f8f", "#9fd0ff"],
  "editor-number": ["#0550ae", "#7cc0ff"],
  "editor-name": ["#6a2fb8", "#d2b3ff"],
};
const colour = (name) => `var(--${name}, light-dark(${colours[name].join(", ")}))`;

const theme = EditorView.theme({
  "&": { backgroundColor: colour("editor-background"), color: colour("editor-text") },
  "&.cm-focused": { outline: "2px solid var(--editor-focus, Highlight)", outlineOffset: "-1px" },
  ".cm-scroller": { fontFamily: "var(--editor-font, ui-monospace, monospace)" },
  ".cm-content": { caretColor: colour("editor-text") },
  ".cm-cursor": { borderLeftColor: colour("editor-text") },
  ".cm-gutters": {
    backgroundColor: colour("editor-background"),
    color: colour("editor-gutter"),
    borderRight: `1px solid ${colour("editor-border")}`,
  },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: colour("editor-line") },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: colour("editor-selection"),
  },
  ".cm-panels, .cm-tooltip": {
    backgroundColor: colour("editor-panel"),
    color: colour("editor-text"),
    borderColor: colour("editor-border"),
  },
  ".cm-textfield, .cm-button": {
    backgroundColor: colour("editor-background"),
    backgroundImage: "none",
    color: colour("editor-text"),
    border: `1px solid ${colour("editor-border")}`,
  },
});

const highlighting = HighlightStyle.define([
  { tag: [tags.comment, tags.meta], color: colour("editor-comment") },
  { tag: [tags.keyword, tags.operatorKeyword, tags.controlKeyword], color: colour("editor-keyword") },
  { tag: [tags.string, tags.special(tags.string)], color: colour("editor-string") },
  { tag: [tags.number, tags.bool, tags.atom, tags.null], color: colour("editor-number") },
  { tag: [tags.propertyName, tags.definition(tags.variableName), tags.attributeName], color: colour("editor-name") },
  { tag: tags.standard(tags.variableName), color: colour("editor-name") },
]);

/**
 * Put an editor in the place of a textarea.
 *
 * `language` is "toml", "shell", "python" or, for plain text, left out; `phrases` are translations of CodeMirror's own
 * texts; `onChange` is called with the text after each change. The textarea gets an "input" event after each change.
 * Tab leaves the editor, as in any field; Ctrl-] and Ctrl-[ indent. Lines end in a line feed, whatever they ended in.
 */
export function editTextarea(textarea, { language, phrases = {}, onChange } = {}) {
  if (language !== undefined && !Object.hasOwn(languages, language)) {
    throw new RangeError(`no such language: ${language}; there are ${Object.keys(languages).join(", ")}`);
  }
  const access = new Compartment();
  const accessOf = (readOnly) => [EditorState.readOnly.of(readOnly), EditorView.editable.of(!readOnly)];
  const labels = [...(textarea.labels ?? [])];
  // A label may have the textarea within it, whose text is not its name.
  const words = (label) => [...label.childNodes].filter((node) => node !== textarea).map((node) => node.textContent);
  const name = textarea.getAttribute("aria-label") ?? labels.flatMap(words).join(" ").trim();
  const described = textarea.getAttribute("aria-describedby");
  // In a document CodeMirror makes a <style>, which the policy forbids; in a shadow root, constructed style sheets.
  const host = document.createElement("div");
  const root = host.attachShadow({ mode: "open", delegatesFocus: true });
  const view = new EditorView({
    root,
    parent: root,
    doc: textarea.value,
    extensions: [
      lineNumbers(),
      highlightActiveLineGutter(),
      highlightSpecialChars(),
      history(),
      drawSelection(),
      indentOnInput(),
      bracketMatching(),
      highlightActiveLine(),
      highlightSelectionMatches(),
      search({ top: true }),
      linter(null),
      lintGutter(),
      keymap.of([...searchKeymap, ...lintKeymap, ...historyKeymap, ...defaultKeymap]),
      language === undefined ? [] : [StreamLanguage.define(languages[language]), indentUnit.of(indents[language])],
      syntaxHighlighting(highlighting),
      theme,
      EditorState.phrases.of(phrases),
      EditorView.contentAttributes.of({ "aria-label": name, ...(described && { "aria-describedby": described }) }),
      access.of(accessOf(textarea.readOnly || textarea.disabled)),
      EditorView.updateListener.of((update) => {
        if (!update.docChanged) return;
        textarea.value = update.state.doc.toString();
        textarea.dispatchEvent(new Event("input", { bubbles: true }));
        onChange?.(textarea.value);
      }),
    ],
  });
  const focus = (event) => {
    event.preventDefault();
    view.focus();
  };
  textarea.after(host);
  textarea.hidden = true;
  labels.forEach((label) => label.addEventListener("click", focus));

  return {
    view,
    text: () => view.state.doc.toString(),
    setText: (text) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
    setReadOnly: (readOnly) => view.dispatch({ effects: access.reconfigure(accessOf(readOnly)) }),
    /** Lines and columns count from 1; what lies outside of the text is shown at its nearest place. */
    setDiagnostics(diagnostics) {
      const { doc } = view.state;
      const shown = diagnostics.map(({ line, column = 1, severity = "error", message }) => {
        const at = doc.line(Math.min(Math.max(line, 1), doc.lines));
        const from = Math.min(at.from + Math.max(column, 1) - 1, at.to);
        return { from, to: at.to, severity, message };
      });
      view.dispatch(setDiagnostics(view.state, shown));
    },
    focus: () => view.focus(),
    /** Take the editor away and show the textarea again, with the text. */
    destroy() {
      labels.forEach((label) => label.removeEventListener("click", focus));
      view.destroy();
      host.remove();
      textarea.hidden = false;
    },
  };
}
