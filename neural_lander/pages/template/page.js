"use strict";
const specifications = JSON.parse(document.getElementById("figures").textContent);

// Replace names of style-sheet colours ("--ink") by their present values; data arrays are left alone.
function themed(value, style) {
  if (typeof value === "string") return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
  if (Array.isArray(value)) return typeof value[0] === "object" ? value.map((v) => themed(v, style)) : value;
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, style)]));
  }
  return value;
}

function draw() {
  const style = getComputedStyle(document.documentElement);
  const narrow = matchMedia("(max-width: 44rem)").matches;
  const axis = { gridcolor: "--grid", zerolinecolor: "--rule", linecolor: "--rule", automargin: true };
  for (const place of document.querySelectorAll(".figure")) {
    const { data, layout } = specifications[Number(place.dataset.figure)];
    const full = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: "--ink", family: getComputedStyle(document.body).fontFamily, size: narrow ? 12 : 13 },
      margin: { l: 56, r: 12, t: 12, b: 44 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      hovermode: "closest",
      dragmode: narrow ? false : "zoom", // a finger scrolls the page
      ...layout,
    };
    for (const name of ["xaxis", "yaxis", "yaxis2"]) if (full[name]) full[name] = { ...axis, ...full[name] };
    Plotly.react(place, themed(data, style), themed(full, style), { displayModeBar: false, responsive: true });
  }
}

draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
