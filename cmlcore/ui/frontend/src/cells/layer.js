// The cell layer: one canvas over the slide, redrawn from the store whenever view, filter or data change.
import { boxOf, camera, screenFromL0 } from "../shared/camera.js";
import { h } from "../shared/dom.js";
import { pick } from "./pick.js";
import { Raster, pixel } from "./raster.js";
import { CellStore } from "./store.js";

const DOT_BELOW_PX = 4; // typical radius on screen under which a cell becomes a dot
const OUTLINES_MAX = 40000; // cells in view above which dots are drawn, whatever their size
const TYPICAL_RADIUS_UM = 3.6; // an erythrocyte's

export class CellLayer {
  /** @param state the shared filter: {hidden: Set(class keys), minScore 0..1, opacity 0..1, visible} */
  constructor(osd, slide, state, { onIndex, onFail }) {
    Object.assign(this, { osd, slide, state, onIndex, onFail });
    this.canvas = h("canvas.cml-cells");
    osd.canvas.append(this.canvas);
    this.raster = null;
    this.store = null;
    this.selected = null;
    this.report = { mode: "none", drawn: 0, total: 0, growing: false, settled: true };
    this.draw = this.draw.bind(this);
    osd.addHandler("update-viewport", this.draw);
    osd.addHandler("resize", this.draw);
  }

  /** Show the cells of another run; null: none. */
  open(base) {
    this.store?.close();
    this.selected = null;
    this.store = base ? new CellStore(base, () => this.#arrived(), this.onFail) : null;
    this.index = null;
    this.#blank();
  }

  close() {
    this.store?.close();
    this.osd.removeHandler("update-viewport", this.draw);
    this.osd.removeHandler("resize", this.draw);
    this.canvas.remove();
  }

  #arrived() {
    if (this.index !== this.store.index) {
      this.index = this.store.index;
      this.colours = this.index.classes.map((c) => pixel(c.color));
      this.onIndex(this.index);
    }
    this.request();
  }

  /** Draw in the next frame, however often this is called before. */
  request() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  #blank() {
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.report = { mode: "none", drawn: 0, total: 0, growing: false, settled: true };
  }

  /** Bytes to compare with: which classes are shown, and the least score. */
  #sieve() {
    const shown = this.index.classes.map((c) => !this.state.hidden.has(c.key));
    return { shown, least: Math.ceil(this.state.minScore * 255 - 0.5) };
  }

  draw() {
    if (!this.index || !this.osd.world.getItemCount()) return;
    if (!this.state.visible) {
      this.#blank();
      return;
    }
    const dpr = Math.min(2, window.devicePixelRatio || 1);
    const css = camera(this.osd);
    const width = Math.round(css.w * dpr);
    const height = Math.round(css.h * dpr);
    if (!width || !height) return;
    if (this.raster?.width !== width || this.raster?.height !== height) {
      this.raster = new Raster(width, height);
      this.canvas.width = width;
      this.canvas.height = height;
    } else {
      this.raster.clear();
    }
    this.canvas.style.opacity = this.state.opacity;

    const view = { x: css.x, y: css.y, scale: css.scale * dpr };
    const box = boxOf(css);
    const radius = (this.slide.mpp ? TYPICAL_RADIUS_UM / this.slide.mpp : this.index.radius / 2) * css.scale;
    const dots = radius < DOT_BELOW_PX || this.store.countIn(box) > OUTLINES_MAX;
    const thick = Math.min(2, Math.max(1.2, radius / 6)) * dpr; // small cells must not drown in their outlines
    const drawn = dots ? this.#dots(view, box, dpr, radius) : this.#outlines(view, box, thick);
    const context = this.canvas.getContext("2d");
    context.putImageData(this.raster.image, 0, 0);
    this.#mark(context, css, dpr);
    this.report = {
      mode: dots ? "dots" : "outlines",
      drawn,
      total: this.index.count,
      growing: this.index.growing,
      settled: dots ? this.store.centres() !== null : this.store.settled,
    };
  }

  #outlines(view, box, thick) {
    const { shown, least } = this.#sieve();
    let drawn = 0;
    this.near = this.store.tilesIn(box);
    for (const tile of this.near) {
      const { n, centre, radius, score, cls } = tile;
      for (let i = 0; i < n; i++) {
        const x = centre[2 * i];
        const y = centre[2 * i + 1];
        if (x + radius < box.x0 || x - radius > box.x1 || y + radius < box.y0 || y - radius > box.y1) continue;
        if (score[i] < least || !shown[cls[i]]) continue;
        this.raster.outline(tile, i, view, thick, this.colours[cls[i]]);
        drawn++;
      }
    }
    return drawn;
  }

  #dots(view, box, dpr, radius) {
    this.near = [];
    const all = this.store.centres();
    if (!all) return 0;
    const { shown, least } = this.#sieve();
    const side = Math.max(1, Math.round(Math.min(4, 1.4 * radius + 1) * dpr));
    const { grid } = this.index;
    let drawn = 0;
    for (const [from, to] of this.#squares(all, box, grid)) {
      for (let i = from; i < to; i++) {
        if (all.score[i] < least || !shown[all.cls[i]]) continue;
        const x = (all.centre[2 * i] - view.x) * view.scale;
        const y = (all.centre[2 * i + 1] - view.y) * view.scale;
        this.raster.dot(x, y, side, this.colours[all.cls[i]]);
        drawn++;
      }
    }
    return drawn;
  }

  *#squares(all, box, grid) {
    const base = 2097152;
    for (const [key, range] of all.squares) {
      const gx = Math.floor(key / base) - 1048576;
      const gy = (key % base) - 1048576;
      if (gx * grid > box.x1 || (gx + 1) * grid < box.x0 || gy * grid > box.y1 || (gy + 1) * grid < box.y0) continue;
      yield range;
    }
  }

  /** The selected cell: a white casing under a line of its own colour. */
  #mark(context, css, dpr) {
    if (!this.selected) return;
    const { tile, i } = this.selected;
    const { vertex, first, unit } = tile;
    context.beginPath();
    for (let j = first[i]; j < first[i + 1]; j++) {
      const p = screenFromL0(css, {
        x: tile.centre[2 * i] + unit * vertex[2 * j],
        y: tile.centre[2 * i + 1] + unit * vertex[2 * j + 1],
      });
      context.lineTo(p.x * dpr, p.y * dpr);
    }
    context.closePath();
    context.lineJoin = "round";
    context.strokeStyle = "#fff";
    context.lineWidth = 6 * dpr;
    context.stroke();
    context.strokeStyle = this.index.classes[tile.cls[i]].color;
    context.lineWidth = 3 * dpr;
    context.stroke();
  }

  /** The cell at a level-0 point, as {id, x, y, cls, score} in level-0 px; null where there is none. */
  at(x, y) {
    if (!this.index || !this.state.visible || this.report.mode !== "outlines") return null;
    const { shown, least } = this.#sieve();
    const found = pick(this.near, x, y, (tile, i) => tile.score[i] >= least && shown[tile.cls[i]]);
    return found && this.#facts(found);
  }

  #facts({ tile, i }) {
    return {
      tile,
      i,
      id: tile.id[i],
      x: tile.centre[2 * i],
      y: tile.centre[2 * i + 1],
      cls: this.index.classes[tile.cls[i]],
      score: tile.score[i] / 255,
    };
  }

  select(found) {
    this.selected = found;
    this.request();
  }
}
