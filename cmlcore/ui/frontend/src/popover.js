// A small card beside the chosen cell: what the model said of it.
import { camera, screenFromL0 } from "./shared/camera.js";
import { getJson, h } from "./shared/dom.js";
import { icon } from "./shared/icons.js";

const fixed = (value, digits) => (value == null ? "–" : value.toFixed(digits));

export class Popover {
  constructor(osd, host, onClose) {
    Object.assign(this, { osd, host, onClose });
    this.place = this.place.bind(this);
    osd.addHandler("update-viewport", this.place);
  }

  close() {
    this.abort?.abort();
    this.card?.remove();
    this.card = null;
  }

  destroy() {
    this.close();
    this.osd.removeHandler("update-viewport", this.place);
  }

  /** Show the facts of `cell` (from CellLayer.at), read from `base` + id. */
  async open(cell, base) {
    this.close();
    this.cell = cell;
    this.abort = new AbortController();
    const { signal } = this.abort;
    const body = h("div.cml-facts", {}, h("p.cml-muted", {}, "Reading …"));
    this.card = h("div.cml-panel.cml-popover", { role: "dialog", "aria-label": "The chosen cell" },
      h("div.cml-popover-head", {},
        h("i.cml-swatch", { style: `background:${cell.cls.color}` }),
        h("strong", {}, cell.cls.label),
        h("button.cml-icon", { type: "button", title: "Close (Esc)", "aria-label": "Close", onclick: () => this.onClose() },
          icon("close", 16))),
      body);
    this.host.append(this.card);
    this.place();
    try {
      const facts = await getJson(`${base}${cell.id}.json`, signal);
      body.replaceChildren(...this.#rows(facts));
    } catch (error) {
      if (!signal.aborted) body.replaceChildren(h("p.cml-muted", {}, error.message));
    }
    if (!signal.aborted) this.place();
  }

  #rows(facts) {
    const bars = facts.probabilities.map(({ label, color, value }) =>
      h("div.cml-prob", { title: `${label}: ${fixed(value, 3)}` },
        h("span", {}, label),
        h("span.cml-track", {}, h("i", { style: `width:${(100 * value).toFixed(1)}%;background:${color}` })),
        h("span.cml-num", {}, fixed(value, 2))));
    const pairs = [
      ["Confidence", fixed(facts.score, 3)],
      ["Area", `${fixed(facts.area_um2, 1)} µm²`],
      ["Perimeter", `${fixed(facts.perimeter_um, 1)} µm`],
      ["Circularity", fixed(facts.circularity, 2)],
      ["Cell", `#${facts.cell_id}`],
    ];
    return [
      h("dl", {}, ...pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd.cml-num", {}, value)])),
      ...bars,
    ];
  }

  /** Beside the cell, inside the viewer; hidden while the cell is out of view. */
  place() {
    if (!this.card) return;
    const cam = camera(this.osd);
    const p = screenFromL0(cam, this.cell);
    const reach = Math.min(120, this.cell.tile.radius * cam.scale) + 12;
    const { offsetWidth: w, offsetHeight: tall } = this.card;
    this.card.hidden = p.x < -reach || p.y < -reach || p.x > cam.w + reach || p.y > cam.h + reach;
    const right = p.x + reach;
    const x = right + w + 8 <= cam.w ? right : p.x - reach - w;
    const clamp = (v, most) => Math.min(Math.max(v, 8), Math.max(8, most));
    this.card.style.transform = `translate(${clamp(x, cam.w - w - 8)}px, ${clamp(p.y - 28, cam.h - tall - 8)}px)`;
  }
}
