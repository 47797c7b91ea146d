"use strict";
// Each chart has its JSON in a script element. It is drawn when first visible, because a hidden one has no width.
const draw = (chart) => {
  if (chart.dataset.drawn || !chart.offsetParent) return;
  chart.dataset.drawn = "yes";
  const figure = JSON.parse(document.getElementById(chart.id + "-data").textContent);
  if (chart.clientWidth < 480) {
    // Fewer, horizontal tick labels: turned ones would overlap the legend.
    const axis = figure.layout.xaxis;
    const angle = axis.type === "multicategory" ? "auto" : 0;
    figure.layout.xaxis = { ...axis, tickangle: angle, nticks: axis.type === "date" ? 4 : axis.nticks };
    figure.layout.font = { ...figure.layout.font, size: 11 };
  }
  // The mode bar links to the website of plotly and takes too much room on a phone.
  Plotly.newPlot(chart, figure.data, figure.layout, { displayModeBar: false, responsive: true });
};
const drawAll = () => document.querySelectorAll(".chart").forEach(draw);

// Resize charts to the paper before printing, and back to the window afterwards.
const PAPER = 620;
const refit = (width) => document.querySelectorAll(".chart[data-drawn]").forEach((chart) => {
  if (chart.offsetParent) Plotly.relayout(chart, { width, autosize: width === null });
});
addEventListener("beforeprint", () => refit(PAPER));
addEventListener("afterprint", () => refit(null));

// A button shows one panel of its group everywhere on the page.
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

// The theme follows the system until the button is pressed; the choice is not stored.
const theme = document.getElementById("theme");
const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
const label = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  label();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
document.querySelectorAll("details").forEach((part) => part.addEventListener("toggle", drawAll));
label();
drawAll();
document.documentElement.dataset.ready = "yes";
