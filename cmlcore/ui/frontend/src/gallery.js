// A page of named single cells: their pictures with class and likeliest classes; a click tells which one.
import { h, styleOnce } from "./shared/dom.js";
import galleryCss from "./gallery.css";
import css from "./style.css";

const instances = new WeakMap(); // parentElement → Gallery

export default function mount(component) {
  styleOnce("cml-style", css);
  styleOnce("cml-gallery-style", galleryCss);
  const { parentElement } = component;
  let gallery = instances.get(parentElement);
  if (!gallery) {
    gallery = new Gallery(parentElement);
    instances.set(parentElement, gallery);
  }
  gallery.draw(component);
  return () => {
    instances.delete(parentElement);
    gallery.root.remove();
  };
}

class Gallery {
  constructor(parent) {
    this.root = h("div.cml-gallery", { role: "group", "aria-label": "Cells" });
    parent.append(this.root);
  }

  draw(component) {
    this.component = component;
    const told = JSON.stringify(component.data.cells);
    if (told === this.drawn) return; // a rerun that changes nothing must not make pictures flicker
    this.drawn = told;
    this.root.replaceChildren(...component.data.cells.map((c) => this.#cell(c)));
  }

  #cell(c) {
    const bars = c.top.map((t) => h("span.cml-prob", { title: `${t.label} ${t.text}` },
      h("span.cml-prob-name", {}, t.label), h("span.cml-num", {}, t.text),
      h("i", {}, h("b", { style: `width:${(100 * t.value).toFixed(1)}%;background:${t.color}` }))));
    const name = c.unknown
      ? [h("em.cml-unknown", {}, c.label), h("span.cml-num.cml-muted", {}, c.unlike)]
      : [h("i.cml-dot", { style: `background:${c.color}` }), h("strong", {}, c.label)];
    return h("button.cml-cell", { type: "button", "data-row": c.row, title: c.name || null,
      "aria-label": `${c.label}, likeliest ${c.top[0].label} ${c.top[0].text}`,
      onclick: () => this.component.setTriggerValue("picked", c.row) },
      h("img", { src: c.url, alt: "", loading: "lazy", decoding: "async", width: 112, height: 112 }),
      h("span.cml-cell-name", {}, ...name), ...bars);
  }
}
