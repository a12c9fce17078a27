// Three ways to watch one list, and what each costs. No build step, no library.
"use strict";

const LANES = ["polling", "sse", "websocket"];
const HISTORY = 90; // looks kept for the little charts, two a second

// ---- one lane on the page -------------------------------------------------------------------

class LaneView {
  constructor(id) {
    this.root = document.getElementById(id);
    this.figures = this.root.querySelector(".figures");
    this.canvas = this.root.querySelector("canvas");
    this.jobs = this.root.querySelector(".jobs");
    this.history = [];
    this.version = 0;
    this.ages = [];
    this.rows = new Map();
  }

  // A list arrived. It tells when its newest changes happened: how old was each when it came here?
  show(document_) {
    if (document_.version <= this.version) return;
    if (this.version) {
      const missed = document_.changes.filter(([version]) => version > this.version);
      this.ages.push(...missed.map(([, at]) => Math.max(0, Date.now() - at)));
    }
    this.ages.splice(0, this.ages.length - 20);
    this.version = document_.version;
    for (const job of document_.jobs) {
      let row = this.rows.get(job.id);
      if (!row) {
        row = element("li", element("span", job.title), element("em"), element("i"));
        this.rows.set(job.id, row);
        this.jobs.append(row);
      }
      row.children[1].textContent = `${job.step} ${job.percent} %`;
      row.children[2].style.setProperty("--done", `${job.percent}%`);
    }
  }

  report(lane) {
    const own = this.ages.length ? this.ages.reduce((sum, age) => sum + age, 0) / this.ages.length : null;
    const age = lane.age_ms ?? own;
    this.history.push(lane.requests_per_second);
    this.history.splice(0, this.history.length - HISTORY);
    this.smooth = mix(this.smooth, lane.requests_per_second);
    this.bytes = mix(this.bytes, lane.bytes_per_second);
    this.age = mix(this.age, age);
    this.figures.replaceChildren(
      figure("requests to the backend", amount(this.smooth), "/s", true),
      figure("age of the data on arrival", this.age == null ? "–" : amount(this.age), "ms", true),
      figure("sent by the backend", ...bytes(this.bytes)),
      figure(lane.streams ? "viewers · streams held open" : "viewers",
        lane.streams ? `${lane.viewers + 1} · ${lane.streams}` : `${lane.viewers + 1}`, ""),
    );
  }

  draw(highest) {
    const scale = window.devicePixelRatio || 1;
    const width = this.canvas.clientWidth, height = 56;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    const colour = getComputedStyle(this.root).getPropertyValue("--tone").trim();
    const x = (index) => width - (this.history.length - 1 - index) * (width / (HISTORY - 1));
    const y = (value) => height - 2 - (Math.log1p(value) / Math.log1p(highest)) * (height - 8);
    pen.beginPath();
    this.history.forEach((value, index) => pen.lineTo(x(index), y(value)));
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.lineJoin = "round";
    pen.stroke();
    if (this.history.length) {
      pen.lineTo(width, height);
      pen.lineTo(x(0), height);
      pen.globalAlpha = 0.13;
      pen.fillStyle = colour;
      pen.fill();
    }
  }
}

const mix = (old, now) => (now == null ? old : old == null ? now : old * 0.6 + now * 0.4);
const amount = (value) => (value >= 9.95 ? Math.round(value).toLocaleString("en") : value.toFixed(1));

function bytes(perSecond) {
  if (perSecond >= 1e6) return [(perSecond / 1e6).toFixed(1), "MB/s"];
  return [amount(perSecond / 1e3), "kB/s"];
}

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children.filter((child) => child != null));
  return made;
}

function figure(label, value, unit, hero) {
  const made = element("div", element("dt", label), element("dd", value, unit ? element("small", unit) : null));
  if (hero) made.className = "hero";
  return made;
}

const views = Object.fromEntries(LANES.map((id) => [id, new LaneView(id)]));

// ---- the three ways to watch ------------------------------------------------------------------

async function poll() {
  try {
    const answer = await fetch("/api/jobs?lane=polling", { cache: "no-store" });
    views.polling.show(await answer.json());
  } finally {
    setTimeout(poll, 1000);
  }
}

function stream() {
  new EventSource("/api/jobs/stream").addEventListener("jobs", (event) => views.sse.show(JSON.parse(event.data)));
}

function websocket() {
  const socket = new WebSocket(`ws://${location.host}/api/jobs`);
  socket.onopen = () => badge("through crossfade");
  socket.onmessage = (event) => views.websocket.show(JSON.parse(event.data));
  socket.onclose = () => setTimeout(whichWay, 1000 * Math.random());
}

// The release manager may have taken this user back: then the old way, until allowed again.
async function whichWay() {
  try {
    const answer = await fetch("/_crossfade/transport?path=/api/jobs", { cache: "no-store" });
    if ((await answer.json()).websocket_available) return websocket();
    badge("back to polling");
    views.websocket.show(await (await fetch("/api/jobs", { cache: "no-store" })).json());
  } catch {
    badge("not reachable");
  }
  setTimeout(whichWay, 1000);
}

let takenBack = false;

function badge(text) {
  takenBack = text !== "through crossfade";
  document.querySelector("#websocket .badge").textContent = text;
}

// ---- what it costs ----------------------------------------------------------------------------

new EventSource("/demo/figures").onmessage = (event) => {
  const report = JSON.parse(event.data);
  for (const id of LANES) views[id].report(report[id]);
  const highest = Math.max(20, ...LANES.flatMap((id) => views[id].history));
  for (const id of LANES) views[id].draw(highest);
  verdict(report);
};

function verdict({ sse, websocket }) {
  const viewers = websocket.viewers + 1;
  crowd(websocket.viewers);
  const text = document.getElementById("verdict");
  const b = (value) => element("b", value);
  const shown = views.websocket.smooth ?? 0;
  if (takenBack) {
    text.textContent = "WebSocket is off: the viewers of the third column poll like those of the first, " +
      "missed nothing on the way, and come back when it is on again.";
    return;
  }
  text.replaceChildren(
    ...(viewers > 1
      ? ["For ", b(viewers.toLocaleString("en")), " viewers in each lane the backend answered ",
         b(`${amount(views.polling.smooth)} polls/s`), ", held ", b(`${sse.streams} streams`), " open, and answered ",
         b(`${amount(shown)} requests/s`), " for all WebSockets together: one poll every 100 ms (a polling viewer: every 1 s), however many watch."]
      : ["One viewer in each lane. Open more and watch the first two columns grow, while the third stays at ",
         b("10 requests/s"), ": one poll every 100 ms, shared by everybody, most of them answered 304."]));
}

const open = document.getElementById("open"), close = document.getElementById("close");

function crowd(viewers) {
  open.disabled = viewers > 0;
  close.style.visibility = viewers === 0 ? "hidden" : "visible";
  document.getElementById("crowd-note").textContent = viewers
    ? `${(3 * viewers).toLocaleString("en")} simulated viewers are watching`
    : "500 simulated viewers in each lane";
}

open.onclick = () => {
  open.disabled = true;
  fetch("/demo/viewers", { method: "POST", body: "500" });
};

close.onclick = () => fetch("/demo/viewers", { method: "DELETE" });

// ---- the private stream -----------------------------------------------------------------------

async function inbox() {
  const answer = await fetch("/api/me", { cache: "no-store" });
  if (!answer.ok) return;
  const { user } = await answer.json();
  document.getElementById("login").hidden = true;
  document.getElementById("logout").hidden = false;
  document.getElementById("user").textContent = user;
  const line = document.getElementById("inbox");
  line.textContent = "Waiting for the private stream…";
  const socket = new WebSocket(`ws://${location.host}/api/inbox`);
  socket.onmessage = (event) => {
    line.textContent = `Over WebSocket, for ${user} only: “${JSON.parse(event.data).text}”`;
  };
}

document.getElementById("socketio").textContent = `io("${location.origin}").on("message", show)`;
poll();
stream();
websocket();
inbox();
