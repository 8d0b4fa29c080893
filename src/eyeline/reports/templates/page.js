"use strict";

// Pictures: a click shows them large.
const lightbox = document.getElementById("lightbox");
for (const button of document.querySelectorAll("button.zoom")) {
  button.addEventListener("click", () => {
    const pictures = document.getElementById("lightbox-pictures");
    pictures.replaceChildren(...[...button.querySelectorAll("img")].map((img) => img.cloneNode()));
    pictures.className = button.classList.contains("pixelated") ? "pixelated" : "";
    const caption = button.parentElement.querySelector("figcaption");
    document.getElementById("lightbox-caption").textContent =
      [...caption.querySelectorAll("p")].map((p) => p.textContent.trim().replace(/\s+/g, " ")).filter(Boolean).join("  ·  ");
    lightbox.showModal();
  });
}
lightbox.addEventListener("click", (event) => {
  if (event.target === lightbox) lightbox.close();
});

// Threshold explorer: every count was computed beforehand; the page looks it up.
const source = document.getElementById("curve");
if (source) {
  const curve = JSON.parse(source.textContent);
  const element = (id) => document.getElementById(id);
  const slider = element("cut-slider");
  const line = element("line-slider");
  const percent = (value) => (Number.isFinite(value) ? (100 * value).toFixed(1) + "\u202f%" : "–");
  const about = (value) => (value >= 10 || value === 0 ? Math.round(value).toLocaleString("en") : value.toPrecision(2));
  let chosen = curve.chosen;

  const nearest = (value) => {
    let low = 0;
    let high = curve.threshold.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (curve.threshold[middle] <= value) low = middle;
      else high = middle;
    }
    return value - curve.threshold[low] <= curve.threshold[high] - value ? low : high;
  };

  const draw = () => {
    const threshold = curve.threshold[chosen];
    const escape = curve.escapes[chosen] / curve.defects;
    const overkill = curve.overkills[chosen] / curve.goods;
    const at = (100 * Math.min(1, Math.max(0, threshold))).toFixed(3) + "%";
    element("cut").setAttribute("x1", at);
    element("cut").setAttribute("x2", at);
    element("passed-box").setAttribute("width", at);
    element("failed-box").setAttribute("x", at);
    element("cut-value").textContent = threshold.toFixed(3);
    element("cut-note").textContent = chosen === curve.chosen ? "as in the artifact" : "only explored";
    element("cut-escapes").textContent = curve.escapes[chosen].toLocaleString("en");
    element("cut-overkills").textContent = curve.overkills[chosen].toLocaleString("en");
    element("cut-escape-rate").textContent = percent(escape);
    element("cut-overkill-rate").textContent = percent(overkill);

    const share = 10 ** Number(line.value);
    const shipped = 10000 * share * escape;
    const failed = 10000 * (1 - share) * overkill;
    const passed = shipped + 10000 * (1 - share) * (1 - overkill);
    element("line-share").textContent = Number((100 * share).toPrecision(2)) + "\u202f%";
    element("line-escapes").textContent = about(shipped) + (about(shipped) === "1.0" ? " defect" : " defects");
    element("line-passed").textContent = about(passed);
    element("line-ppm").textContent = passed > 0 ? about((1e6 * shipped) / passed) : "–";
    element("line-overkills").textContent = about(failed) + " good parts";
    element("cut-reset").disabled = chosen === curve.chosen;
  };

  slider.addEventListener("input", () => {
    chosen = nearest(Number(slider.value));
    draw();
  });
  line.addEventListener("input", draw);
  element("cut-reset").addEventListener("click", () => {
    chosen = curve.chosen;
    slider.value = curve.threshold[chosen];
    draw();
  });
  slider.value = curve.threshold[chosen];
  slider.disabled = false;
  element("line-rate").hidden = !(curve.defects && curve.goods);
  draw();
}
