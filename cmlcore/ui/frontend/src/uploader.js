// The slide uploader as a Streamlit component: a drop area and the list of this tab's uploads.
import { h, styleOnce } from "./shared/dom.js";
import { icon } from "./shared/icons.js";
import css from "./style.css";
import { add, bytesText, listen, remove, timeText, transfers } from "./transfers.js";
import uploadCss from "./uploader.css";

const instances = new WeakMap(); // parentElement → Uploader

export default function mount(component) {
  styleOnce("cml-style", css);
  styleOnce("cml-upload-style", uploadCss);
  const { parentElement } = component;
  let uploader = instances.get(parentElement);
  if (!uploader) {
    uploader = new Uploader(parentElement);
    instances.set(parentElement, uploader);
  }
  uploader.component = component;
  uploader.draw();
  return () => {
    instances.delete(parentElement);
    uploader.destroy();
  };
}

class Uploader {
  constructor(parent) {
    this.rows = new Map(); // Transfer → its elements
    this.input = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Slides to upload",
      onchange: () => { this.#take(this.input.files); this.input.value = ""; } });
    this.limit = h("span.cml-muted");
    this.drop = h("div.cml-drop", {},
      icon("upload", 28),
      h("div", {}, h("strong", {}, "Drop slides here"), h("br"), this.limit),
      h("button.cml-choose", { type: "button", onclick: () => this.input.click() }, "Choose files"),
      this.input);
    this.list = h("div.cml-transfers", { role: "list" });
    this.root = h("div.cml-uploader", {}, this.drop, this.list);
    parent.append(this.root);
    for (const type of ["dragenter", "dragover"]) this.drop.addEventListener(type, (e) => this.#over(e, true));
    for (const type of ["dragleave", "drop"]) this.drop.addEventListener(type, (e) => this.#over(e, false));
    this.drop.addEventListener("drop", (e) => this.#take(e.dataTransfer.files));
    this.deaf = listen((arrived) => {
      if (arrived) this.component.setTriggerValue("slide", arrived);
      this.draw();
    });
  }

  #over(e, on) {
    e.preventDefault();
    this.drop.classList.toggle("cml-over", on);
  }

  #take(files) {
    add(files, this.component.data);
  }

  draw() {
    const { max_bytes: most } = this.component.data;
    this.limit.textContent = `CZI, SVS, NDPI, BIF, DICOM, TIFF, PNG, JPEG · up to ${bytesText(most)} a file`;
    for (const [transfer, row] of this.rows) {
      if (!transfers.includes(transfer)) {
        row.root.remove();
        this.rows.delete(transfer);
      }
    }
    for (const transfer of transfers) {
      if (!this.rows.has(transfer)) this.rows.set(transfer, this.#row(transfer));
      this.#refresh(transfer, this.rows.get(transfer));
    }
  }

  #row(transfer) {
    const bar = h("i");
    const note = h("span.cml-muted.cml-num", { role: "status" });
    const track = h("div.cml-progress", { role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100,
      "aria-label": `Upload of ${transfer.file.name}` }, bar);
    const retry = h("button.cml-icon", { type: "button", title: "Try again", "aria-label": "Try again",
      onclick: () => transfer.retry() }, icon("retry", 18));
    const stop = h("button.cml-icon", { type: "button", title: "Cancel", "aria-label": "Cancel",
      onclick: () => (transfer.state === "arrived" ? remove(transfer) : transfer.cancel()) }, icon("close", 18));
    const state = h("span.cml-state");
    const root = h("div.cml-transfer", { role: "listitem" },
      state, h("span.cml-file", { title: transfer.file.name }, transfer.file.name), note, h("span.cml-ends", {}, retry, stop), track);
    this.list.append(root);
    return { root, bar, note, track, retry, stop, state };
  }

  #refresh(transfer, { root, bar, note, track, retry, stop, state }) {
    const { size } = transfer.file;
    const percent = size ? (100 * transfer.sent) / size : 0;
    bar.style.width = `${percent}%`;
    track.setAttribute("aria-valuenow", Math.round(percent));
    const name = { arrived: "check", failed: "alert" }[transfer.state] ?? "upload";
    if (root.dataset.state !== transfer.state) {
      root.dataset.state = transfer.state;
      state.replaceChildren(icon(name, 18));
      stop.title = transfer.state === "arrived" ? "Take off the list" : "Cancel";
      stop.setAttribute("aria-label", stop.title);
    }
    retry.hidden = transfer.state !== "failed";
    track.hidden = transfer.state !== "running" && transfer.state !== "waiting";
    note.textContent = this.#words(transfer, percent);
  }

  #words(transfer, percent) {
    const { size } = transfer.file;
    if (transfer.state === "failed") return transfer.note;
    if (transfer.state === "arrived") return `${bytesText(size)} · arrived`;
    if (transfer.state === "waiting") return `${bytesText(size)} · waiting`;
    if (transfer.sent === size) return `${bytesText(size)} · checking …`;
    const pace = transfer.speed ? ` · ${bytesText(transfer.speed)}/s · ${timeText(transfer.left)} left` : "";
    return `${Math.floor(percent)} % of ${bytesText(size)}${pace}`;
  }

  destroy() {
    this.deaf();
    this.root.remove();
  }
}
