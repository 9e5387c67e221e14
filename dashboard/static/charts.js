"use strict";
// Draws the figures of a page with plotly.js: an element names the address of its figure (data-figure), or carries
// the figure itself (data-values). One with data-live is drawn again whenever the page has refreshed its parts.

const style = getComputedStyle(document.documentElement);
const colour = (name) => style.getPropertyValue(`--${name}`).trim();

// plotly.js knows English only; the browser knows the months, days and decimal signs of the page's language.
const language = document.documentElement.lang;
if (language !== "en") {
  const toNames = (options, dates) => {
    const names = new Intl.DateTimeFormat(language, { ...options, timeZone: "UTC" });
    return dates.map((date) => names.format(date));
  };
  const months = Array.from({ length: 12 }, (_, month) => Date.UTC(2024, month, 1));
  const days = Array.from({ length: 7 }, (_, day) => Date.UTC(2024, 0, 7 + day)); // from a Sunday on
  const signs = new Intl.NumberFormat(language).formatToParts(12345.6);
  Plotly.register({
    moduleType: "locale",
    name: language,
    dictionary: {},
    format: {
      months: toNames({ month: "long" }, months),
      shortMonths: toNames({ month: "short" }, months),
      days: toNames({ weekday: "long" }, days),
      shortDays: toNames({ weekday: "short" }, days),
      decimal: signs.find((part) => part.type === "decimal").value,
      thousands: signs.find((part) => part.type === "group").value,
      date: "%d/%m/%Y",
      dayMonth: "%-d %b",
      dayMonthYear: "%-d %b %Y",
    },
  });
}

// plotly.js reads a few tags in every text; what people wrote must stay as they wrote it.
const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
const escapeText = (value) => (typeof value === "string" ? value.replace(/[&<>]/g, (sign) => entities[sign]) : value);

function toTrace(trace) {
  const { tone, dash, symbol, is_in_legend: isInLegend, is_band: isBand, ...rest } = trace;
  return {
    ...rest,
    name: escapeText(trace.name),
    y: trace.y.map(escapeText),
    text: trace.text?.map(escapeText),
    type: "scatter",
    hovertemplate: trace.text ? "%{x}<br>%{y}<br>%{text}<extra></extra>" : "%{x}<br>%{y}<extra></extra>",
    line: { color: colour(tone), width: isBand ? 0 : 1.5, dash: dash || "solid" },
    marker: { color: colour(tone), size: 9, symbol: symbol || "circle-open", line: { width: 2 } },
    fillcolor: `${colour("soft")}33`,
    hoverinfo: isBand ? "skip" : undefined,
    showlegend: Boolean(isInLegend),
  };
}

function toHeatmap(figure) {
  const { x, y, z } = figure;
  return { x, y, z, type: "heatmap", colorscale: "Viridis", hovertemplate: "%{x}<br>%{y}<br>%{z}<extra></extra>" };
}

// A few whole numbers, such as epochs, have no ticks between them.
function toTicks(figure) {
  const numbers = figure.z ? [] : figure.traces.flatMap((trace) => trace.x);
  const isShort = numbers.length > 0 && numbers.every(Number.isInteger) && Math.max(...numbers) - Math.min(...numbers) <= 10;
  return isShort ? { dtick: 1 } : {};
}

function toLayout(figure) {
  const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), automargin: true };
  const isDated = !figure.z && figure.x_type !== "linear";
  return {
    height: 360,
    margin: { l: 56, r: 16, t: 8, b: 40 },
    paper_bgcolor: colour("card"),
    plot_bgcolor: colour("card"),
    font: { color: colour("ink"), family: "system-ui, sans-serif" },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    xaxis: { ...axis, ...toTicks(figure), type: isDated ? "date" : "linear", title: { text: escapeText(figure.x_title ?? "UTC") } },
    yaxis: { ...axis, title: { text: escapeText(figure.y_title) } },
    shapes: (figure.levels || []).map((level) => ({
      type: "line", xref: "paper", x0: 0, x1: 1, y0: level.y, y1: level.y,
      line: { color: colour(level.tone), width: 1, dash: "dot" },
    })),
  };
}

async function read(element) {
  if (element.dataset.values) return JSON.parse(element.dataset.values);
  const answer = await fetch(element.dataset.figure, { headers: { Accept: "application/json" } });
  const figure = await answer.json();
  if (!answer.ok) throw new Error(figure.error);
  return figure;
}

async function draw(element) {
  const note = element.querySelector("p.soft");
  try {
    const figure = await read(element);
    const traces = figure.z ? [toHeatmap(figure)] : figure.traces.map(toTrace);
    if (!traces.some((trace) => trace.x.length)) { note.textContent = element.dataset.empty; return; }
    note?.remove();
    await Plotly.react(element, traces, toLayout(figure), { locale: language, responsive: true, displaylogo: false });
  } catch (error) {
    if (note) note.textContent = error.message;
  }
}

document.querySelectorAll("[data-figure], [data-values]").forEach(draw);
document.addEventListener("refreshed", () => document.querySelectorAll("[data-live]").forEach(draw));
