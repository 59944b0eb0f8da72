// Scale bar and magnification.
import { h } from "./shared/dom.js";

const STEPS = [1, 2, 5];

/** The largest 1-2-5 length (µm) whose bar is at most `maxPx` wide. */
export function niceLength(umPerPx, maxPx) {
  const limit = umPerPx * maxPx;
  const decade = 10 ** Math.floor(Math.log10(limit));
  const step = STEPS.filter((s) => s * decade <= limit).pop();
  return step * decade;
}

/** "200 nm", "50 µm", "2 mm". */
export function lengthText(um) {
  if (um >= 1000) return `${+(um / 1000).toPrecision(3)} mm`;
  if (um >= 1) return `${+um.toPrecision(3)} µm`;
  return `${+(um * 1000).toPrecision(3)} nm`;
}

/** Magnification on screen: the objective's where the slide says it, else 10 µm/px ÷ pixel size (the usual rule). */
export function magnification(slide, scale) {
  if (slide.objective) return { value: slide.objective * scale, exact: true };
  if (slide.mpp) return { value: (10 / slide.mpp) * scale, exact: false };
  return null;
}

function magnificationText(m) {
  const value = m.value >= 10 ? Math.round(m.value) : +m.value.toPrecision(2);
  return `${m.exact ? "" : "≈ "}${value}×`;
}

export class ScaleBar {
  constructor() {
    this.bar = h("div.cml-bar");
    this.length = h("span.cml-bar-text");
    this.power = h("span.cml-power");
    this.root = h("div.cml-panel.cml-scale", { role: "status", "aria-label": "Scale and magnification" },
      this.power, h("div.cml-bar-box", {}, this.length, this.bar));
  }

  update(slide, scale) {
    const m = magnification(slide, scale);
    this.power.textContent = m ? magnificationText(m) : `${+(scale * 100).toPrecision(2)} %`;
    this.power.title = m?.exact === false ? "From the pixel size; the slide does not name its objective" : "";
    this.bar.parentElement.hidden = !slide.mpp;
    if (!slide.mpp) {
      this.root.title = "The slide does not say its pixel size";
      return;
    }
    const um = niceLength(slide.mpp / scale, 140);
    this.bar.style.width = `${(um * scale) / slide.mpp}px`;
    this.length.textContent = lengthText(um);
  }
}
