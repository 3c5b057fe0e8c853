// The last minute as lines and as stacked areas, in SVG that takes its colours from the style sheet.

const SECONDS = 60;
const GAP_SECONDS = 1.5;
const USUAL = 0.98;
const WIDTH = 600;
const HEIGHT = 100;
const NS = "http://www.w3.org/2000/svg";

/** What came in the last minute: `add(seconds, values)`, and `stretches`, the parts without a gap. */
export class History {
  #samples = [];

  add(at, values) {
    this.#samples.push({ at, values });
    while (this.#samples[0].at < at - SECONDS) this.#samples.shift();
  }

  stretches(now) {
    const found = [];
    let last = -Infinity;
    for (const { at, values } of this.#samples) {
      if (now - at > SECONDS) continue;
      if (at - last > GAP_SECONDS) found.push([]);
      found.at(-1).push({ x: WIDTH * (1 - (now - at) / SECONDS), values });
      last = at;
    }
    return found;
  }
}

/** Returns the next "round" number from `value` on: 1, 2 or 5 times a power of ten. */
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

/** A chart in `place`, one area on the other for each of `names`, or a line where there is one name. */
export class Chart {
  #history = new History();
  #names;
  #least;
  #fixed;
  #paths;
  #top;

  constructor(place, names, { least, fixed = false, classes = names }) {
    this.#names = names;
    this.#least = least;
    this.#fixed = fixed;
    const svg = document.createElementNS(NS, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const kinds = names.length === 1 ? ["under", "line"] : classes;
    this.#paths = kinds.map((kind) => {
      const path = document.createElementNS(NS, "path");
      path.setAttribute("class", kind);
      return svg.appendChild(path);
    });
    this.#top = document.createElement("span");
    place.append(svg, this.#top);
  }

  /** Takes the figures of a moment in seconds; without any, or where they are not known, time leaves a gap. */
  add(now, figures) {
    if (figures && this.#names.every((name) => figures[name] !== null)) {
      let sum = 0;
      this.#history.add(now, this.#names.map((name) => (sum += figures[name])));
    }
    this.#draw(this.#history.stretches(now));
  }

  #draw(stretches) {
    const tops = stretches.flat().map(({ values }) => values.at(-1)).sort((one, other) => one - other);
    // What lasts for less than a second or so must not flatten all the rest.
    const most = Math.max(this.#least, tops[Math.floor(tops.length * USUAL)] ?? 0);
    const top = this.#fixed ? this.#least : roundUp(most);
    this.#top.textContent = top;
    const y = (value) => (HEIGHT * (1 - Math.min(value, top) / top)).toFixed(2);
    const edge = (stretch, layer) =>
      stretch.map(({ x, values }) => `${x.toFixed(1)} ${y(layer < 0 ? 0 : values[layer])}`);
    const area = (layer) =>
      stretches.map((one) => `M${[...edge(one, layer), ...edge(one, layer - 1).reverse()].join("L")}Z`).join("");
    const line = () => stretches.map((one) => `M${edge(one, 0).join("L")}`).join("");
    const drawn = this.#names.length === 1 ? [area(0), line()] : this.#names.map((_, layer) => area(layer));
    this.#paths.forEach((path, index) => path.setAttribute("d", drawn[index]));
  }
}
