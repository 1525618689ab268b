"use strict";
// Without this script the page is read all the same, and the answers file is filled in by hand.
const rows = [...document.querySelectorAll("article[data-id]")];
const bar = document.getElementById("bar");
const quoted = (text) => '"' + text.replaceAll('"', '""') + '"';
const answerOf = (row) => row.querySelector("input:checked")?.value ?? "";

function count() {
  document.getElementById("done").textContent = rows.filter(answerOf).length + " / " + rows.length;
}

function save() {
  const lines = rows.map((row) => [row.dataset.id, row.dataset.technique, answerOf(row), row.dataset.key]);
  const text = [["id", "technique", "answer", "key"], ...lines].map((line) => line.map(quoted).join(",")).join("\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text + "\n"], { type: "text/csv" }));
  link.download = bar.dataset.file;
  link.click();
  URL.revokeObjectURL(link.href);
}

for (const choices of document.querySelectorAll("fieldset")) choices.hidden = false;
bar.hidden = false;
document.addEventListener("change", count);
document.getElementById("save").addEventListener("click", save);
count();
