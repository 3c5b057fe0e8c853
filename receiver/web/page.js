// Puts the page together: what the receiver says, in words, pictures and charts.

import { Chart } from "./charts.js";
import { Controls } from "./controls.js";
import { signIn, watch } from "./link.js";
import { Sound, canHear } from "./sound.js";
import { KINDS, Strip } from "./strip.js";

const ORDINARY_KBPS = 500;
const RATES = ["payload_kbps", "pictures_kbps", "audio_kbps", "overhead_kbps"];
const CAUSES = ["ip", "dtls", "sctp", "acknowledgements", "reports", "ice", "rtp", "set_up", "headers"];
const VALUES = [...RATES, ...CAUSES.map((cause) => `${cause}_kbps`), "fps_shown", "latency_ms", "loss_percent"];
const IN_CALL = ["live", "forecasting", "stalled", "on hold"];
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

// State: its name, what it means, and what stands in place of the picture.
const WORDS = {
  opening: ["Opening", "", ""],
  listening: ["Listening", "waiting for a sender", "Waiting for somebody to call."],
  connecting: ["Connecting", "a sender is calling", "Somebody is calling …"],
  live: ["Live", "", ""],
  forecasting: ["Forecasting", "nothing has come for a moment", ""],
  stalled: ["Stalled", "the last picture is held", "Holding the last picture"],
  "on hold": ["On hold", "the other side has paused the call", "On hold"],
  none: ["No receiver", "trying again until it is back", "The receiver does not answer; trying again."],
  wait: ["Locked", "too many wrong tokens", "Too many wrong tokens were entered from here; trying again in a minute."],
  full: ["Full", "the viewer limit is reached", "No viewer slot is free; trying again."],
  token: ["Locked", "a token is required", "The receiver showed its token when it started."],
};
const NO_SOUND = {
  here: "No sound: browsers play it only on https pages or on the receiver's own machine.",
  ever: "No sound: this browser cannot play it.",
};
const SILENT = "The connection is lost; holding the last picture";
const STEADY_MS = 1500;
const REFUSALS = {
  wrong: "That is not this receiver's token.",
  wait: "Too many wrong tokens; wait a minute.",
  none: "The receiver does not answer.",
};

const at = (id) => document.getElementById(id);
const say = (id, text) => {
  if (at(id).textContent !== text) at(id).textContent = text;
};
const seconds = () => performance.now() / 1000;

const strip = new Strip(at("strip"));
const charts = [
  new Chart(at("rates"), RATES, { least: 10, classes: ["keypoints", "pictures", "audio", "overhead"] }),
  new Chart(at("fps"), ["fps_shown"], { least: 30, fixed: true }),
  new Chart(at("latency"), ["latency_ms"], { least: 200 }),
  new Chart(at("loss"), ["loss_percent"], { least: 5 }),
];
const pen = at("video").getContext("2d");
const controls = new Controls();
const sound = new Sound();
let send = null;
let hasPicture = false;
let speaking = 0;

function setState(state, phase) {
  const [name, meaning, invitation] = WORDS[state];
  if (document.body.dataset.state !== state) {
    // Of states that come and go within a moment, nobody wants to hear.
    clearTimeout(speaking);
    speaking = setTimeout(() => say("spoken", [name, meaning].filter(Boolean).join(": ")), STEADY_MS);
  }
  document.body.dataset.state = state;
  document.title = `keycast – ${name.toLowerCase()}`;
  say("state", name);
  say("meaning", meaning);
  const lost = state === "stalled" && phase && phase !== "in a call";
  say("invitation", lost ? SILENT : invitation);
  at("sign-in").hidden = state !== "token";
  at("command").hidden = state !== "listening" || !LOCAL.includes(location.hostname);
  if (["listening", "connecting", "token"].includes(state)) hasPicture = false;
  const still = ["stalled", "on hold", "none"].includes(state) || !(state in WORDS);
  document.body.dataset.picture = !hasPicture ? "none" : still ? "still" : "moving";
  if (!IN_CALL.includes(state)) clearValues();
}

function clearValues() {
  for (const id of [...VALUES, "total"]) say(id, "–");
  for (const kind of Object.values(KINDS)) say(kind, "");
  say("saving", "every byte on the wire, both ways");
  say("length", "");
  at("clocks").hidden = true;
}

const number = (value) => value.toFixed(value < 99.95 ? 1 : 0);
const whole = (value) => value.toFixed(0);
const shown = (id, value) => (value === null ? "–" : id === "latency_ms" ? whole(value) : number(value));
const clock = (value) => {
  const [minutes, rest] = [Math.floor(value / 60), Math.floor(value % 60)];
  return `${minutes}:${String(rest).padStart(2, "0")}`;
};

function showFigures(figures) {
  setState(figures.state, figures.phase);
  const inCall = IN_CALL.includes(figures.state);
  for (const chart of charts) chart.add(seconds(), inCall ? figures : null);
  strip.show(figures.strip, figures.frame);
  controls.show(figures, inCall);
  offerSound(inCall && figures.sound);
  if (!inCall) return;
  const total = RATES.reduce((sum, name) => sum + figures[name], 0);
  for (const id of VALUES) say(id, shown(id, figures[id]));
  at("clocks").hidden = !figures.clocks_apart_s;
  say("total", number(total));
  const saved = ORDINARY_KBPS / total;
  say("saving", `every byte, both ways${saved >= 2 ? `; an ordinary call takes ${whole(saved)} times that` : ""}`);
  say("length", clock(figures.seconds));
  const letters = [...figures.strip];
  for (const [letter, kind] of Object.entries(KINDS)) {
    const share = letters.filter((one) => one === letter).length / Math.max(1, letters.length);
    say(kind, `${whole(100 * share)} %`);
  }
}

async function showPicture(blob) {
  const bitmap = await createImageBitmap(blob);
  // A canvas is cleared where its size is set.
  if (pen.canvas.width !== bitmap.width) pen.canvas.width = pen.canvas.height = bitmap.width;
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  hasPicture = true;
}

/** Offers the sound of a call that has some: browsers play none before a click. */
function offerSound(there) {
  at("hear").hidden = !there || !canHear();
  at("deaf").hidden = !there || canHear();
  say("deaf", isSecureContext ? NO_SOUND.ever : NO_SOUND.here);
}

async function hearOrNot() {
  if (sound.on) sound.stop();
  else await sound.start();
  send?.(sound.on ? "hear" : "quiet");
  at("hear").setAttribute("aria-pressed", sound.on);
  say("hear-words", sound.on ? "Sound on" : "Click to hear");
}

function linked(sender, timeline) {
  send = sender;
  controls.linked(sender);
  sound.follow(timeline);
  if (sound.on) send?.("hear");
}

function askForToken() {
  setState("token");
  at("token").focus({ preventScroll: true });
  return new Promise((signedIn) => {
    at("sign-in").onsubmit = async (event) => {
      event.preventDefault();
      const word = await signIn(at("token").value.trim());
      say("refusal", REFUSALS[word] ?? "");
      if (word !== "open") return;
      at("token").value = "";
      signedIn();
    };
  });
}

const handlers = {
  access: (word) => word !== "open" && word !== "token" && setState(word in WORDS ? word : "none"),
  token: askForToken,
  linked,
  figures: showFigures,
  picture: showPicture,
  own: (blob) => controls.own(blob),
  sound: (moment, packet) => sound.take(moment, packet),
  delay: () => sound.delay,
};

function offerFullScreen() {
  // Where there is a picture; see the style sheet.
  at("full").hidden = !document.fullscreenEnabled;
  at("full").onclick = () =>
    document.fullscreenElement ? document.exitFullscreen() : at("screen").requestFullscreen();
}

/** Returns a fragment as it was meant: as printed, with %XX, or as somebody typed the token. */
function decoded(fragment) {
  try {
    return decodeURIComponent(fragment);
  } catch {
    return fragment;
  }
}

async function main() {
  offerFullScreen();
  at("hear").onclick = hearOrNot;
  say("command", "sender --source demo");
  setState("opening");
  // Time passes in the charts while nothing comes.
  setInterval(() => document.body.dataset.state in { none: 0, wait: 0 } && charts.forEach((one) => one.add(seconds())), 500);
  // Somebody may paste the whole address into a page that asks for the token.
  addEventListener("hashchange", () => location.reload());
  const given = location.hash.slice(1);
  if (given) {
    // Fragments are sent to nobody; this one is not kept in the history either.
    history.replaceState(null, "", location.pathname);
    await signIn(decoded(given));
  }
  await watch(handlers);
}

main();
