// Which cell lies under a point.

/** Whether level-0 point (x, y) lies inside the outline of cell `i` (even-odd rule). */
export function inside(tile, i, x, y) {
  const { vertex, first, unit } = tile;
  const u = (x - tile.centre[2 * i]) / unit;
  const v = (y - tile.centre[2 * i + 1]) / unit;
  const end = first[i + 1];
  let odd = false;
  for (let j = first[i], k = end - 1; j < end; k = j++) {
    const yj = vertex[2 * j + 1];
    const yk = vertex[2 * k + 1];
    if (yj > v !== yk > v) {
      const xj = vertex[2 * j];
      if (u < xj + ((vertex[2 * k] - xj) * (v - yj)) / (yk - yj)) odd = !odd;
    }
  }
  return odd;
}

/** Twice the area of cell `i`'s outline in level-0 px²; only compared with others. */
function doubleArea(tile, i) {
  const { vertex, first, unit } = tile;
  const end = first[i + 1];
  let sum = 0;
  for (let j = first[i], k = end - 1; j < end; k = j++) {
    sum += vertex[2 * k] * vertex[2 * j + 1] - vertex[2 * j] * vertex[2 * k + 1];
  }
  return Math.abs(sum) * unit * unit;
}

/** The smallest cell under (x, y) among `tiles` that `shown(tile, i)` lets through: {tile, i} or null. */
export function pick(tiles, x, y, shown) {
  let best = null;
  let bestArea = Infinity;
  for (const tile of tiles) {
    for (let i = 0; i < tile.n; i++) {
      if (Math.abs(tile.centre[2 * i] - x) > tile.radius || Math.abs(tile.centre[2 * i + 1] - y) > tile.radius) continue;
      if (!shown(tile, i) || !inside(tile, i, x, y)) continue;
      const area = doubleArea(tile, i);
      if (area < bestArea) [best, bestArea] = [{ tile, i }, area];
    }
  }
  return best;
}
