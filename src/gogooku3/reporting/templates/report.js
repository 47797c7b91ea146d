"use strict";
// Each figure lies as JSON beside its place and is drawn when that is first seen: a hidden one has no width.
const draw = (place) => {
  if (place.dataset.drawn || !place.offsetParent) return;
  place.dataset.drawn = "yes";
  const figure = JSON.parse(document.getElementById(place.id + "-data").textContent);
  if (place.clientWidth < 480) {
    // Fewer ticks, level ones: turned, they would lie on the legend.
    const axis = figure.layout.xaxis;
    const angle = axis.type === "multicategory" ? "auto" : 0;
    figure.layout.xaxis = { ...axis, tickangle: angle, nticks: axis.type === "date" ? 4 : axis.nticks };
    figure.layout.font = { ...figure.layout.font, size: 11 };
  }
  // The mode bar links to the library's site, and a phone has no room for it.
  Plotly.newPlot(place, figure.data, figure.layout, { displayModeBar: false, responsive: true });
};
const drawAll = () => document.querySelectorAll(".chart").forEach(draw);

// Paper is narrower than a window: what is seen is fitted to it, and to the window again afterwards.
const PAPER = 620;
const refit = (width) => document.querySelectorAll(".chart[data-drawn]").forEach((place) => {
  if (place.offsetParent) Plotly.relayout(place, { width, autosize: width === null });
});
addEventListener("beforeprint", () => refit(PAPER));
addEventListener("afterprint", () => refit(null));

// Buttons: one panel of a group is shown, in all of its groups on the page.
document.querySelectorAll(".tabs button").forEach((button) => {
  button.addEventListener("click", () => {
    const group = button.parentElement.dataset.group;
    document.querySelectorAll(`.tabs[data-group="${group}"] button`).forEach((other) => {
      other.setAttribute("aria-pressed", String(other.dataset.panel === button.dataset.panel));
    });
    document.querySelectorAll(`[data-panel-of="${group}"]`).forEach((panel) => {
      panel.hidden = panel.dataset.panel !== button.dataset.panel;
    });
    drawAll();
  });
});

// Light and dark follow the system until the button is pressed; the choice lasts as long as the page.
const theme = document.getElementById("theme");
const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
const name = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  name();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
document.querySelectorAll("details").forEach((part) => part.addEventListener("toggle", drawAll));
name();
drawAll();
document.documentElement.dataset.ready = "yes";
