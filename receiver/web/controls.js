// What who sits here can do: buttons, keys, and oneself in a corner. And what the other side has chosen.

const KEYS = { m: "mute", v: "hold", q: "hang up", p: "self" };
const NAMES = {
  mute: ["Mute", "Unmute"],
  hold: ["Hold", "Resume"],
  self: ["Show self-view", "Hide self-view"],
};

const at = (id) => document.getElementById(id);

/** Shows `controls` (see `shared.runtime.controls`) where there are any; `say` sends a word to the receiver. */
export class Controls {
  #say = () => {};
  #pen = at("self-video").getContext("2d");

  constructor() {
    for (const button of document.querySelectorAll("[data-word]"))
      button.onclick = () => this.#press(button.dataset.word);
    addEventListener("keydown", (event) => {
      const typing = event.target.closest("input, textarea, select");
      if (typing || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
      this.#press(KEYS[event.key.toLowerCase()]);
    });
  }

  /** Is connected by `say` from now on, or not any more (null). */
  linked(say) {
    this.#say = say ?? (() => {});
    if (!say) at("controls").hidden = at("self").hidden = true;
  }

  /** Shows oneself, as in a mirror; see the style sheet. */
  async own(blob) {
    const bitmap = await createImageBitmap(blob);
    const canvas = this.#pen.canvas;
    if (canvas.width !== bitmap.width) canvas.width = canvas.height = bitmap.width;
    this.#pen.drawImage(bitmap, 0, 0);
    bitmap.close();
    at("self").dataset.picture = "some";
  }

  /** Shows how things stand in a call, or outside of one. */
  show({ controls, peer_muted: muted, peer_held: held }, inCall) {
    const theirs = muted && !held ? "Muted" : "";
    at("peer").hidden = !inCall || !theirs;
    at("peer-words").textContent = theirs;
    at("controls").hidden = !controls;
    at("self").hidden = !controls;
    if (!controls) return;
    const pressed = { mute: controls.muted, hold: controls.held, self: controls.shows_self };
    for (const [word, is] of Object.entries(pressed)) {
      const button = document.querySelector(`[data-word="${word}"]`);
      button.setAttribute("aria-pressed", is);
      button.setAttribute("aria-label", NAMES[word][Number(is)]);
      button.title = `${NAMES[word][Number(is)]} (${Object.keys(KEYS).find((key) => KEYS[key] === word)})`;
    }
    document.querySelector('[data-word="hang up"]').hidden = !inCall;
    at("self-video").hidden = !controls.shows_self;
    const mine = controls.held ? "on hold" : controls.muted ? "muted" : "";
    // On one's own picture, whose it is needs no words.
    const words = controls.shows_self ? mine.charAt(0).toUpperCase() + mine.slice(1) : `You are ${mine}`;
    at("self-words").textContent = mine && words;
    at("self-words").hidden = !mine;
    if (!controls.shows_self) at("self").dataset.picture = "none";
  }

  #press(word) {
    if (word && !at("controls").hidden) this.#say(word);
  }
}
