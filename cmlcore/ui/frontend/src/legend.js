// The cell panel: which classes are shown, from which confidence, how strongly.
import { h } from "./shared/dom.js";
import { icon } from "./shared/icons.js";

export class Legend {
  /** @param state {hidden, minScore, opacity, visible}; changed in place, `onChange` is called then. */
  constructor(state, onChange) {
    Object.assign(this, { state, onChange });
    this.list = h("div.cml-classes");
    this.note = h("p.cml-muted.cml-note", { role: "status" });
    this.score = this.#slider("Confidence from", 0, 1, 0.01, (v) => { state.minScore = v; }, (v) => v.toFixed(2));
    this.opacity = this.#slider("Opacity", 0.1, 1, 0.05, (v) => { state.opacity = v; }, (v) => `${Math.round(100 * v)} %`);
    this.body = h("div.cml-legend-body", {}, this.list, this.score.root, this.opacity.root, this.note);
    this.head = h("button.cml-legend-head", { type: "button", "aria-expanded": "true", title: "Fold this panel",
      onclick: () => this.fold(!this.body.hidden) }, icon("layers", 18), h("span", {}, "Cells"));
    this.eye = h("input", { type: "checkbox", "aria-label": "Show the cells", title: "Show the cells (C)",
      onchange: () => { state.visible = this.eye.checked; onChange(); } });
    this.root = h("section.cml-panel.cml-legend", { "aria-label": "Cell layer", hidden: true },
      h("div.cml-legend-row", {}, this.head, this.eye), this.body);
  }

  fold(folded) {
    this.body.hidden = folded;
    this.head.setAttribute("aria-expanded", String(!folded));
  }

  #slider(name, min, max, step, set, text) {
    const out = h("output.cml-num");
    const input = h("input", { type: "range", min, max, step, oninput: () => {
      set(+input.value);
      out.textContent = text(+input.value);
      this.onChange();
    } });
    const root = h("label.cml-slider", {}, h("span", {}, name), out, input);
    return { root, show: (v) => { input.value = v; out.textContent = text(v); } };
  }

  /** Bring the widgets in line with the state. */
  refresh() {
    this.score.show(this.state.minScore);
    this.opacity.show(this.state.opacity);
    this.eye.checked = this.state.visible;
    for (const box of this.list.querySelectorAll("input")) box.checked = !this.state.hidden.has(box.value);
  }

  /** @param index the overlay's index, null: no cells */
  show(index) {
    this.root.hidden = !index;
    if (!index) return;
    this.list.replaceChildren(...index.classes.map((c) => this.#class(c)));
    this.note.textContent = index.growing ? `${grouped(index.count)} cells so far …` : "";
    this.note.hidden = !index.growing;
    this.refresh();
  }

  #class({ key, label, color, count }) {
    const box = h("input", { type: "checkbox", value: key, onchange: () => {
      if (box.checked) this.state.hidden.delete(key);
      else this.state.hidden.add(key);
      this.onChange();
    } });
    const title = key === "unidentified" ? "Found, but the network is too unsure to say what it is" : "";
    return h("label.cml-class", { title }, box, h("i.cml-swatch", { style: `background:${color}` }), h("span", {}, label),
      h("span.cml-num.cml-muted", {}, count == null ? "" : grouped(count)));
  }
}

/** A whole number, its thousands apart as on the pages around. */
function grouped(n) {
  return n.toLocaleString("en").replaceAll(",", "\u202f");
}
