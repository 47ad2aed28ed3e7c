// The chart: received bytes upwards, sent bytes downwards, on one axis.

import { byId, make } from "./dom.js";
import { rate, size } from "./format.js";

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// The highest stack of all series in one direction.
function highest(series, direction) {
  const sums = (series[0]?.[direction] ?? []).map((_, index) => series.reduce((sum, one) => sum + one[direction][index], 0));
  return Math.max(...sums, 0);
}

// Limits and step of the axis, in round numbers of the shown unit.
function axis(series, units) {
  const [up, down] = [highest(series, "rx"), highest(series, "tx")];
  const [base, factor] = units === "bits" ? [1000, 8] : [1024, 1];
  const rough = Math.max((factor * (up + down)) / 5, 1);
  const unit = base ** Math.floor(Math.log(rough) / Math.log(base));
  const step = ([...(units === "bits" ? DECIMAL : BINARY), base].find((number) => number * unit >= rough) * unit) / factor;
  const max = Math.max(Math.ceil(up / step), 1) * step;
  return { min: -Math.max(Math.ceil(down / step), 1) * step, max, step };
}

const DECIMAL = [1, 2, 5, 10, 20, 50, 100, 200, 500];
const BINARY = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

// Options for Chart.js, in the current colours.
function settings(what, format, click) {
  const text = colour("soft");
  const grid = { color: colour("line") };
  const { min, max, step } = axis(what.series, what.units);
  const ticks = { color: text, maxRotation: 0, autoSkipPadding: 24 };
  if (what.ticks) Object.assign(ticks, { autoSkip: false, callback: (_, index) => what.ticks(index) });
  return {
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    normalized: true,
    interaction: { mode: "index", intersect: false },
    onClick: (_, found) => { if (found.length) click(found[0].index); },
    scales: {
      x: { stacked: true, grid: { display: false }, ticks },
      y: {
        stacked: true,
        grid,
        min,
        max,
        ticks: { color: text, stepSize: step, callback: (value) => format(Math.abs(value)) },
      },
    },
    plugins: {
      legend: { display: false },
      tooltip: {
        filter: (item) => item.raw,
        callbacks: {
          label: (item) => `${item.raw < 0 ? "↑" : "↓"} ${item.dataset.name}: ${format(Math.abs(item.raw))}`,
        },
      },
    },
  };
}

export class Graph {
  constructor() {
    this.canvas = byId("chart");
    this.click = () => {};
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  // Sets Chart.js; undefined if it is missing: then the page shows the summary without a chart.
  use(Chart) {
    this.Chart = Chart;
    byId("plot").hidden = !Chart;
    this.redraw();
  }

  redraw() {
    this.chart?.destroy();
    this.chart = undefined;
    if (this.last) this.draw(this.last);
  }

  clear() {
    this.last = undefined;
    this.redraw();
    this.legend([]);
    this.canvas.setAttribute("aria-label", "no data");
  }

  // {labels, ticks(index), series: [{name, colour, colourSent, rx, tx}], units: "bytes" | "bits" | "sizes", text, click}
  draw(what) {
    this.last = what;
    this.click = what.click ?? (() => {});
    this.canvas.setAttribute("aria-label", what.text);
    if (!this.Chart) return;
    this.legend(what.series);
    const datasets = what.series.flatMap((series) => {
      const look = { name: series.name, backgroundColor: colour(series.colour), barPercentage: 1, categoryPercentage: what.gaps ? 0.85 : 1 };
      return [
        { ...look, data: series.rx },
        { ...look, data: series.tx.map((value) => (value === null ? null : -value)), backgroundColor: colour(series.colourSent ?? series.colour) },
      ];
    });
    const format = what.units === "sizes" ? size : (value) => rate(value, what.units);
    const options = settings(what, format, (index) => this.click(index));
    if (!this.chart) {
      this.chart = new this.Chart(this.canvas, { type: "bar", data: { labels: what.labels, datasets }, options });
      return;
    }
    this.chart.data.labels = what.labels;
    this.chart.data.datasets = datasets;
    this.chart.options = options;
    this.chart.update("none");
  }

  legend(series) {
    const same = JSON.stringify(series.map((one) => [one.name, one.colour]));
    if (same === this.shown) return;
    this.shown = same;
    const entry = (name, shade) => {
      const item = make("li");
      const swatch = make("i");
      swatch.style.backgroundColor = `var(--${shade})`;
      item.append(swatch, name);
      return item;
    };
    byId("legend").replaceChildren(...series.flatMap((one) => (one.colourSent
      ? [entry("↓ received", one.colour), entry("↑ sent", one.colourSent)]
      : [entry(one.name, one.colour)])));
  }
}
