// Draws outlines and dots straight into the bytes of an ImageData: no GPU, no canvas paths.
// Lines are anti-aliased by coverage along their minor axis (after Wu 1991); alpha holds the coverage.

const LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
if (!LITTLE) throw new Error("This page needs a little-endian computer.");

/** "#rrggbb" as the low 24 bits of a little-endian RGBA pixel. */
export function pixel(hex) {
  const v = parseInt(hex.slice(1), 16);
  return ((v & 255) << 16) | (v & 0xff00) | (v >> 16);
}

export class Raster {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.image = new ImageData(width, height);
    this.px = new Uint32Array(this.image.data.buffer);
  }

  clear() {
    this.px.fill(0);
  }

  /** Put a colour where its coverage (0..255) beats what is there already. */
  #blend(at, rgb, cover) {
    if (cover > this.px[at] >>> 24) this.px[at] = ((cover << 24) | rgb) >>> 0;
  }

  /** A spot `side` pixels wide centred on (x, y), its corners taken off where it is large enough. */
  dot(x, y, side, rgb) {
    const x0 = Math.round(x - side / 2);
    const y0 = Math.round(y - side / 2);
    if (x0 < 0 || y0 < 0 || x0 + side > this.width || y0 + side > this.height) return;
    const full = (0xff000000 | rgb) >>> 0;
    for (let row = y0 * this.width + x0, j = 0; j < side; j++, row += this.width) {
      const cut = side >= 4 && (j === 0 || j === side - 1) ? 1 : 0;
      for (let i = cut; i < side - cut; i++) this.px[row + i] = full;
    }
  }

  /** A line `thick` pixels wide from (x0, y0) to (x1, y1), pixel centres at .5. */
  line(x0, y0, x1, y1, thick, rgb) {
    const dx = x1 - x0;
    const dy = y1 - y0;
    if (Math.abs(dx) >= Math.abs(dy)) {
      if (dx === 0) return;
      if (dx < 0) [x0, y0, x1, y1] = [x1, y1, x0, y0];
      this.#sweep(x0, y0, x1, dy / dx, thick, rgb, this.width, this.height, 1, this.width);
    } else {
      if (dy < 0) [x0, y0, x1, y1] = [x1, y1, x0, y0];
      this.#sweep(y0, x0, y1, dx / dy, thick, rgb, this.height, this.width, this.width, 1);
    }
  }

  /** Walk the major axis from u0 to u1; `v` is the minor one. Strides turn (u, v) into a pixel's place. */
  #sweep(u0, v0, u1, slope, thick, rgb, uSize, vSize, uStride, vStride) {
    const cap = (thick - 1) / 4; // a little over the ends closes the wedge where two thick edges meet
    const from = Math.max(0, Math.floor(u0 - cap));
    const to = Math.min(uSize - 1, Math.floor(u1 + cap));
    const half = (thick / 2) * Math.sqrt(1 + slope * slope); // width across the minor axis
    let v = v0 + slope * (from + 0.5 - u0);
    for (let u = from; u <= to; u++, v += slope) {
      const low = v - half;
      const high = v + half;
      let j = Math.floor(low);
      const last = Math.min(vSize - 1, Math.floor(high));
      if (j < 0) j = 0;
      for (let at = u * uStride + j * vStride; j <= last; j++, at += vStride) {
        const cover = Math.min(high, j + 1) - Math.max(low, j);
        this.#blend(at, rgb, cover >= 1 ? 255 : (cover * 255) | 0);
      }
    }
  }

  /** The outline of cell `i` of a tile; the view maps level 0 to pixels: (x - view.x) * view.scale. */
  outline(tile, i, view, thick, rgb) {
    const { vertex, first, unit } = tile;
    const k = view.scale * unit;
    const cx = (tile.centre[2 * i] - view.x) * view.scale;
    const cy = (tile.centre[2 * i + 1] - view.y) * view.scale;
    const end = first[i + 1];
    let px = cx + vertex[2 * end - 2] * k;
    let py = cy + vertex[2 * end - 1] * k;
    for (let j = first[i]; j < end; j++) {
      const x = cx + vertex[2 * j] * k;
      const y = cy + vertex[2 * j + 1] * k;
      this.line(px, py, x, y, thick, rgb);
      px = x;
      py = y;
    }
  }
}
