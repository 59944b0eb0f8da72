// Decodes the packed cell layer; the layout stands in cmlcore/report/overlay.py.

const MAGIC = 0x4f4c4d43; // "CMLO", little-endian
const HEADER = 32;

function header(buffer) {
  const view = new DataView(buffer);
  if (view.getUint32(0, true) !== MAGIC || view.getUint16(4, true) !== 1) {
    throw new Error("The cell layer has another version than this page; reload the page.");
  }
  return {
    n: view.getUint32(8, true),
    v: view.getUint32(12, true),
    unit: view.getFloat32(16, true),
    radius: view.getFloat32(20, true),
  };
}

/** Outlines of one grid tile, as typed arrays over the answer itself (nothing is copied). */
export function outlines(buffer) {
  const { n, v, unit, radius } = header(buffer);
  let at = HEADER;
  const take = (Type, length) => {
    const part = new Type(buffer, at, length);
    at += part.byteLength;
    return part;
  };
  return {
    n,
    unit,
    radius,
    id: take(Float64Array, n),
    centre: take(Float32Array, 2 * n),
    first: take(Uint32Array, n + 1),
    vertex: take(Int16Array, 2 * v),
    score: take(Uint8Array, n),
    cls: take(Uint8Array, n),
    bytes: buffer.byteLength,
  };
}

/**
 * Centres of all cells, sorted into squares of `grid` level-0 pixels so that a view touches only its own.
 * Returns {n, centre, score, cls, squares: Map("gx,gy" → [from, to))}.
 */
export function centres(buffer, grid) {
  const { n } = header(buffer);
  const xy = new Float32Array(buffer, HEADER, 2 * n);
  const score = new Uint8Array(buffer, HEADER + 8 * n, n);
  const cls = new Uint8Array(buffer, HEADER + 9 * n, n);

  const counts = new Map();
  const keyOf = (i) => squareKey(Math.floor(xy[2 * i] / grid), Math.floor(xy[2 * i + 1] / grid));
  for (let i = 0; i < n; i++) counts.set(keyOf(i), (counts.get(keyOf(i)) ?? 0) + 1);
  const squares = new Map();
  const next = new Map();
  let from = 0;
  for (const [key, count] of counts) {
    squares.set(key, [from, from + count]);
    next.set(key, from);
    from += count;
  }
  const sorted = { n, centre: new Float32Array(2 * n), score: new Uint8Array(n), cls: new Uint8Array(n), squares };
  for (let i = 0; i < n; i++) {
    const key = keyOf(i);
    const to = next.get(key);
    next.set(key, to + 1);
    sorted.centre[2 * to] = xy[2 * i];
    sorted.centre[2 * to + 1] = xy[2 * i + 1];
    sorted.score[to] = score[i];
    sorted.cls[to] = cls[i];
  }
  return sorted;
}

/** Key of a grid square in a Map; exact for |gx|, |gy| < 2**20, far beyond any slide. */
export function squareKey(gx, gy) {
  return (gx + 1048576) * 2097152 + (gy + 1048576);
}
