// Drops single-cell pictures into a batch on the server, four at a time, and tells the page how many arrived.
import { h, sentenceOf, styleOnce } from "./shared/dom.js";
import { icon } from "./shared/icons.js";
import picturesCss from "./pictures.css";
import css from "./style.css";
import uploadCss from "./uploader.css";

const LANES = 4;
const instances = new WeakMap(); // parentElement → Pictures

export default function mount(component) {
  styleOnce("cml-style", css);
  styleOnce("cml-upload-style", uploadCss);
  styleOnce("cml-pictures-style", picturesCss);
  const { parentElement } = component;
  let pictures = instances.get(parentElement);
  if (!pictures) {
    pictures = new Pictures(parentElement);
    instances.set(parentElement, pictures);
  }
  pictures.take(component);
  return () => {
    instances.delete(parentElement);
    pictures.destroy();
  };
}

class Pictures {
  constructor(parent) {
    this.input = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Images of single cells",
      accept: ".png,.jpg,.jpeg,.tif,.tiff,.bmp,.zip",
      onchange: () => { this.#add([...this.input.files]); this.input.value = ""; } });
    this.title = h("strong");
    this.note = h("span.cml-muted", { role: "status" });
    this.bar = h("i");
    this.track = h("div.cml-progress", { role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100,
      "aria-label": "Upload of images", hidden: true }, this.bar);
    this.clear = h("button.cml-plain", { type: "button", hidden: true, onclick: () => this.#reset(true) }, "Remove all");
    this.again = h("button.cml-plain", { type: "button", hidden: true, onclick: () => this.#again() }, "Try again");
    this.drop = h("div.cml-drop", {}, icon("upload", 28),
      h("div", {}, this.title, h("br"), this.note, this.track), this.again, this.clear,
      h("button.cml-choose", { type: "button", onclick: () => this.input.click() }, "Choose images"), this.input);
    this.strip = h("div.cml-strip", { "aria-hidden": true });
    this.root = h("div.cml-uploader.cml-pictures", {}, this.drop, this.strip);
    parent.append(this.root);
    for (const type of ["dragenter", "dragover"]) this.drop.addEventListener(type, (e) => this.#over(e, true));
    for (const type of ["dragleave", "drop"]) this.drop.addEventListener(type, (e) => this.#over(e, false));
    this.drop.addEventListener("drop", async (e) => this.#add(await filesOf(e.dataTransfer)));
    this.#reset(false);
  }

  /** A new `round` in the page's data means that a job took the batch: begin with nothing. */
  take(component) {
    const fresh = this.component && this.component.data.round !== component.data.round;
    this.component = component;
    if (fresh) this.#reset(false);
  }

  #reset(tell) {
    this.stop?.abort();
    this.stop = new AbortController();
    this.batch = null;
    this.waiting = [];
    this.failed = [];
    this.count = this.sent = this.arrived = this.lanes = 0;
    this.why = "";
    for (const img of this.strip.children) URL.revokeObjectURL(img.src);
    this.strip.replaceChildren();
    this.#draw();
    if (tell) this.#tell();
  }

  #over(e, on) {
    e.preventDefault();
    this.drop.classList.toggle("cml-over", on);
  }

  #add(files) {
    const wanted = files.filter((f) => f.size > 0 && !f.name.startsWith("."));
    for (const file of wanted) {
      this.waiting.push([this.count++, file]);
      if (this.strip.childElementCount < this.component.data.shown && /^image\/(png|jpeg|bmp)$/.test(file.type)) {
        this.strip.append(h("img", { src: URL.createObjectURL(file), alt: "", title: file.name }));
      }
    }
    this.why = "";
    this.#run();
  }

  #again() {
    this.waiting.push(...this.failed);
    this.failed = [];
    this.why = "";
    this.#run();
  }

  async #run() {
    const { signal } = this.stop;
    try {
      this.batch ??= fetch("/pictures", { method: "POST", signal }).then(async (answer) => {
        if (!answer.ok) throw new Error(await sentenceOf(answer));
        return (await answer.json()).batch;
      });
      await this.batch;
    } catch (error) {
      if (signal.aborted) return;
      this.batch = null;
      this.failed.push(...this.waiting.splice(0));
      this.why = error.message;
    }
    this.#draw();
    while (this.lanes < LANES && this.waiting.length) this.#lane(signal);
  }

  async #lane(signal) {
    this.lanes += 1;
    while (this.waiting.length && !signal.aborted) {
      const [number, file] = this.waiting.shift();
      try {
        const answer = await fetch(`/pictures/${await this.batch}/${number}`, { method: "PUT", body: file, signal,
          headers: { "X-Name": encodeURIComponent(file.name), "Content-Type": "application/octet-stream" } });
        if (!answer.ok) throw new Error(await sentenceOf(answer));
        this.arrived += 1;
      } catch (error) {
        if (signal.aborted) return;
        this.failed.push([number, file]);
        this.why = error.message;
      }
      this.#draw();
    }
    if (signal.aborted) return;
    this.lanes -= 1;
    if (!this.lanes) this.#tell();
  }

  async #tell() {
    const batch = this.batch ? await this.batch.catch(() => null) : null;
    this.component.setStateValue("batch", batch && this.arrived ? { id: batch, files: this.arrived } : null);
  }

  #draw() {
    const busy = this.waiting.length || this.arrived + this.failed.length < this.count;
    this.title.textContent = !this.count ? "Drop images of single cells here"
      : busy ? `${this.arrived} of ${this.count} files` : `${this.arrived} ${this.arrived === 1 ? "file" : "files"} ready`;
    this.note.textContent = this.why ? `${this.failed.length} failed: ${this.why}`
      : this.count ? (busy ? "Uploading …" : "Drop more to add them.") : "PNG, JPEG, TIFF, BMP, or a ZIP of them · one cell in the middle of each";
    this.track.hidden = !busy;
    this.bar.style.width = `${this.count ? (100 * this.arrived) / this.count : 0}%`;
    this.track.setAttribute("aria-valuenow", Math.round(this.count ? (100 * this.arrived) / this.count : 0));
    this.clear.hidden = !this.count;
    this.again.hidden = !this.failed.length;
    this.strip.hidden = !this.strip.childElementCount;
  }

  destroy() {
    this.stop.abort();
    for (const img of this.strip.children) URL.revokeObjectURL(img.src);
    this.root.remove();
  }
}

/** Files of a drop, those inside dropped folders too. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((i) => i.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    found.push(await new Promise((done, fail) => entry.file(done, fail)));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!some.length) return;
    for (const inner of some) await walk(inner, found);
  }
}
