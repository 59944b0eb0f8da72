// The uploads of this tab. They belong to the page's module, not to a component, so that leaving the slides page
// does not stop them; a component shows them while it is there.
import { Upload } from "tus-js-client";

const AT_ONCE = 2;
const SPEED_WINDOW_MS = 4000;
const RETRY_MS = [0, 1000, 3000, 5000, 10000, 20000, 30000];
const FINAL = new Set([400, 403, 404, 410, 413, 415, 422, 507]); // answers that a retry does not change

export const transfers = []; // newest last
const listeners = new Set();

/** Hear of every change; returns a function that stops that. */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell(arrived = null) {
  for (const listener of listeners) listener(arrived);
}

/** A name for "the same file again" that gives nothing of the file's name away. */
async function fingerprint(file, { endpoint }) {
  const text = [file.name, file.size, file.lastModified, endpoint].join("\n");
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return `cml-${Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, "0")).join("")}`;
}

/** The server's sentence inside an error of tus-js-client. */
function sentence(error) {
  const response = error.originalResponse;
  if (!response || response.getStatus() === 0) {
    return "The server cannot be reached; the upload goes on from here once you choose “Try again”.";
  }
  try {
    return JSON.parse(response.getBody()).error;
  } catch {
    return `The server answered ${response.getStatus()}; try again.`;
  }
}

class Transfer {
  constructor(file, { endpoint, chunk, max_bytes: maxBytes }) {
    Object.assign(this, { file, endpoint, chunk, sent: 0, state: "waiting", note: "", marks: [] });
    if (file.size === 0) this.fail("The file is empty; choose another.");
    else if (file.size > maxBytes) this.fail(`The file is larger than this server takes (${bytesText(maxBytes)}).`);
  }

  fail(note) {
    Object.assign(this, { state: "failed", note });
  }

  async start() {
    this.state = "running";
    this.note = "";
    this.marks = [];
    const extension = /\.([a-z0-9]{1,5})$/i.exec(this.file.name)?.[1].toLowerCase();
    this.upload = new Upload(this.file, {
      endpoint: this.endpoint,
      chunkSize: this.chunk,
      retryDelays: RETRY_MS,
      removeFingerprintOnSuccess: true,
      fingerprint,
      metadata: extension ? { extension } : {},
      onShouldRetry: (error) => !FINAL.has(error.originalResponse?.getStatus()),
      onProgress: (sent) => this.#progress(sent),
      onError: (error) => this.#done(() => this.fail(sentence(error))),
      onSuccess: ({ lastResponse }) => {
        this.slide = lastResponse.getHeader("X-Slide-Id");
        this.#done(() => { this.state = "arrived"; this.sent = this.file.size; }, this.slide);
      },
    });
    const [previous] = await this.upload.findPreviousUploads();
    if (this.state !== "running") return; // cancelled meanwhile
    if (previous) this.upload.resumeFromPreviousUpload(previous);
    this.upload.start();
  }

  #progress(sent) {
    const at = performance.now();
    this.sent = sent;
    this.marks.push([at, sent]);
    while (this.marks.length > 2 && at - this.marks[0][0] > SPEED_WINDOW_MS) this.marks.shift();
    tell();
  }

  #done(action, arrived = null) {
    action();
    tell(arrived);
    next();
  }

  /** Bytes per second over the last seconds; 0 while unknown. */
  get speed() {
    const [first, last] = [this.marks[0], this.marks.at(-1)];
    return first && last[0] - first[0] > 400 ? (1000 * (last[1] - first[1])) / (last[0] - first[0]) : 0;
  }

  get left() {
    return this.speed > 0 ? (this.file.size - this.sent) / this.speed : null;
  }

  async cancel() {
    const { upload } = this;
    remove(this);
    if (this.state === "running") {
      this.state = "cancelled";
      await upload?.abort(true).catch(() => {}); // the server clears what a lost DELETE leaves behind
    }
    next();
  }

  retry() {
    this.state = "waiting";
    next();
  }
}

export function add(files, options) {
  for (const file of files) transfers.push(new Transfer(file, options));
  next();
}

export function remove(transfer) {
  const at = transfers.indexOf(transfer);
  if (at >= 0) transfers.splice(at, 1);
  tell();
}

function next() {
  const running = transfers.filter((t) => t.state === "running").length;
  const waiting = transfers.filter((t) => t.state === "waiting");
  for (const transfer of waiting.slice(0, AT_ONCE - running)) transfer.start();
  tell();
}

window.addEventListener("beforeunload", (e) => {
  if (transfers.some((t) => t.state === "running")) e.preventDefault();
});

export function bytesText(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = n;
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** "8 s", "3:05 min", "1:20 h". */
export function timeText(seconds) {
  const s = Math.max(1, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")} min`;
  return `${Math.floor(s / 3600)}:${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} h`;
}
