// The call's sound: packets of Opus, each heard at its moment, in step with the pictures.

const RATE = 48000;
const PACKET_SECONDS = 0.02;
// Of what is off by little, the pace makes up, and by so much at most: nobody hears it.
const MAX_RATE_CHANGE = 0.005;
const JUMP_SECONDS = 0.06;
const MIN_LEAD = 0.008;
// Nine of ten packets are to come in time: so much later is everything, pictures too. More is needed at once, less in time.
const SHARE = 0.9;
const RECENT = 100;
const MARGIN_MS = 8;
const MAX_DELAY_MS = 400;
const LEAP_MS = 15;
const STEP_MS = 0.1;
const SMOOTH = 0.05;

/** Whether this browser can play it at all; some can on pages over https or from this machine alone. */
export const canHear = () => typeof AudioDecoder === "function" && typeof AudioContext === "function";

/** Plays what it is given by `timeline`, once `start` was called in a click. */
export class Sound {
  #context = null;
  #decoder = null;
  #timeline = null;
  #apart = null;
  #next = 0;
  #last = -Infinity;
  #needed = [];
  // Of packets that are being decoded: decoders count time by what they were given, and know of no pauses.
  #moments = [];
  /** How many milliseconds after their moment pictures are to be shown, for sound to be in step. */
  delay = 0;

  get on() {
    return this.#context !== null;
  }

  async start() {
    this.#context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    await this.#context.resume();
  }

  stop() {
    this.#forget();
    this.#context?.close();
    this.#context = null;
    this.delay = 0;
  }

  /** Follows another `timeline`: that of a new connection. */
  follow(timeline) {
    this.#timeline = timeline;
    this.#forget();
  }

  /** Takes a packet, to be heard at `at`. */
  take(at, packet) {
    if (!this.on) return;
    this.#decoder ??= this.#newDecoder();
    this.#moments.push(at);
    this.#decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: Math.round(1000 * at), data: packet }));
  }

  #newDecoder() {
    const decoder = new AudioDecoder({
      output: (data) => this.#play(data),
      // Of one that is broken, nothing more comes; the next packet gets another.
      error: () => this.#forget(),
    });
    decoder.configure({ codec: "opus", sampleRate: RATE, numberOfChannels: 1 });
    return decoder;
  }

  #forget() {
    if (this.#decoder && this.#decoder.state !== "closed") this.#decoder.close();
    this.#decoder = null;
    this.#moments = [];
    this.#last = -Infinity;
  }

  #play(data) {
    const at = this.#moments.shift();
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    data.close();
    if (!this.on || !this.#timeline) return;
    const buffer = this.#context.createBuffer(1, samples.length, RATE);
    buffer.copyToChannel(samples, 0);
    const { when, pace, skip } = this.#place(at);
    if (skip >= buffer.duration) return;
    const source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(this.#context.destination);
    source.playbackRate.value = pace;
    source.start(when, skip);
    this.#next = when + (buffer.duration - skip) / pace;
    this.#last = at;
  }

  /** Returns when, by the context's clock, what is due at `at` begins, how fast it is, and what is too late of it. */
  #place(at) {
    const earliest = this.#context.currentTime + MIN_LEAD;
    const soonest = this.#contextTime(this.#timeline.here(at));
    this.#adjust(1000 * (earliest - soonest));
    const target = soonest + this.delay / 1000;
    const off = target - this.#next;
    const follows = Math.abs(at - this.#last - 1000 * PACKET_SECONDS) < 500 * PACKET_SECONDS;
    if (follows && Math.abs(off) < JUMP_SECONDS && this.#next >= earliest)
      return { when: this.#next, pace: 1 - Math.min(Math.max(off / 2, -MAX_RATE_CHANGE), MAX_RATE_CHANGE), skip: 0 };
    const when = Math.max(target, earliest);
    return { when, pace: 1, skip: when - target };
  }

  /** Takes note that a packet needs everything to be `ms` later. */
  #adjust(ms) {
    this.#needed.push(ms);
    if (this.#needed.length > RECENT) this.#needed.shift();
    const sorted = [...this.#needed].sort((one, other) => one - other);
    const wanted = sorted[Math.floor(SHARE * (sorted.length - 1))] + MARGIN_MS;
    const limited = Math.min(Math.max(wanted, 0), MAX_DELAY_MS);
    if (limited > this.delay + LEAP_MS) this.delay = limited;
    else this.delay += Math.min(Math.max(limited - this.delay, -STEP_MS), STEP_MS);
  }

  /** Returns the context's time of what is heard at `now`, the page's time in milliseconds. */
  #contextTime(now) {
    const { contextTime, performanceTime } = this.#context.getOutputTimestamp?.() ?? {};
    const known = performanceTime > 0;
    const heard = known ? contextTime : this.#context.currentTime - (this.#context.outputLatency || 0);
    const apart = heard - (known ? performanceTime : performance.now()) / 1000;
    const jumped = this.#apart === null || Math.abs(apart - this.#apart) > JUMP_SECONDS;
    this.#apart = jumped ? apart : this.#apart + SMOOTH * (apart - this.#apart);
    return now / 1000 + this.#apart;
  }
}
