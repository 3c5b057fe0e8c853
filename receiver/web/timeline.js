// When what the receiver sends is to be seen and heard here: its clock, as this page's own.

const WINDOW_MS = 5000;

/** Follows how far the two clocks are apart, by what came quickest of late; in milliseconds. */
export class Timeline {
  #began = -Infinity;
  #before = Infinity;
  #now = Infinity;

  /** Takes note that something left the receiver at `sent`, by its clock, and has come now. */
  came(sent) {
    const now = performance.now();
    if (now - this.#began > WINDOW_MS) {
      this.#before = this.#now;
      this.#now = Infinity;
      this.#began = now;
    }
    this.#now = Math.min(this.#now, now - sent);
  }

  /** Returns the page's own time of the receiver's moment `at`, for what takes no time on its way. */
  here(at) {
    return at + Math.min(this.#before, this.#now);
  }
}
