// A bar for each of the newest frames, its height and colour telling where the frame comes from.

export const KINDS = { o: "observed", f: "forecast", i: "interpolated", h: "held" };
const HEIGHTS = { o: 1, i: 0.74, f: 0.6, h: 0.28 };
const FRAMES = 120;
const FPS = 30;
const LAG_FRAMES = 15;

/** Draws on `canvas`. Figures come a few times a second; in between the strip glides. */
export class Strip {
  #canvas;
  #letters = "";
  #newest = 0;
  #position = 0;
  #before = 0;
  #moving = false;
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** Takes the letters of the newest frames, the last one being that of frame `newest`. */
  show(letters, newest) {
    this.#letters = letters;
    if (newest < this.#newest || newest - this.#position > 3 * LAG_FRAMES) this.#position = newest;
    this.#newest = newest;
    if (this.#moving) return;
    this.#moving = true;
    this.#before = performance.now();
    requestAnimationFrame((now) => this.#glide(now));
  }

  #glide(now) {
    const passed = Math.max(0, now - this.#before) / 1000;
    this.#before = now;
    const behind = this.#newest - this.#position;
    // A little faster or slower, so that there is always something left to glide to.
    const pace = FPS * (1 + (behind - LAG_FRAMES / 2) / (2 * LAG_FRAMES));
    this.#position = this.#calm.matches ? this.#newest : Math.min(this.#newest, this.#position + pace * passed);
    this.#draw();
    this.#moving = this.#position < this.#newest;
    if (this.#moving) requestAnimationFrame((later) => this.#glide(later));
  }

  #draw() {
    const canvas = this.#canvas;
    const scale = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * scale);
    const height = Math.round(canvas.clientHeight * scale);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    const style = getComputedStyle(canvas);
    const cell = width / FRAMES;
    const gap = Math.max(1, Math.round(cell * 0.25));
    const shift = this.#newest - this.#position;
    for (let index = 0; index < this.#letters.length; index++) {
      const kind = this.#letters[this.#letters.length - 1 - index];
      const left = Math.round(width - (index + 1 - shift) * cell);
      const right = Math.round(width - (index - shift) * cell) - gap;
      const tall = Math.round(height * HEIGHTS[kind]);
      pen.fillStyle = style.getPropertyValue(`--${KINDS[kind]}`);
      pen.fillRect(left, height - tall, Math.max(1, right - left), tall);
    }
  }
}
