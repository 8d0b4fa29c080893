
// Labels: a decision an image, saved as a new table.
const holder = document.getElementById("label-rows");
if (holder) {
  const rows = JSON.parse(holder.textContent);
  const decisions = new Map();
  const note = document.getElementById("save-note");
  const said = () => {
    const removed = [...decisions.values()].filter((value) => value === null).length;
    const changed = decisions.size - removed;
    note.textContent = decisions.size
      ? `${changed} changed, ${removed} removed; ${rows.length - removed} rows.`
      : "No label is changed yet.";
  };
  for (const figure of document.querySelectorAll(".suspect")) {
    const row = Number(figure.dataset.row);
    for (const button of figure.querySelectorAll(".choices button")) {
      button.addEventListener("click", () => {
        for (const other of figure.querySelectorAll(".choices button")) other.setAttribute("aria-pressed", String(other === button));
        if (button.dataset.remove) decisions.set(row, null);
        else if (button.dataset.label) decisions.set(row, button.dataset.label);
        else decisions.delete(row);
        figure.classList.toggle("decided", true);
        said();
      });
    }
  }
  const cell = (text) => (/[",;\t\r\n]|^\s|\s$/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text);
  document.getElementById("save-labels").addEventListener("click", () => {
    const names = Object.keys(rows[0]);
    const lines = [names.join(",")];
    rows.forEach((values, row) => {
      if (decisions.get(row) === null) return;
      lines.push(names.map((name) => cell(name === "label" && decisions.has(row) ? decisions.get(row) : values[name])).join(","));
    });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    link.download = "labels.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  said();
}
