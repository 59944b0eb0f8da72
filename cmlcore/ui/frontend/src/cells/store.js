// Fetches the cell layer piece by piece: the index, then only the grid tiles in view, kept least-recently-used.
import { getJson, sentenceOf } from "../shared/dom.js";
import { centres, outlines, squareKey } from "./packed.js";

const KEPT_BYTES = 96 << 20;
const AT_ONCE = 4;
const POLL_MS = 2500;
const NO_CENTRES = { squares: new Map() };
const REST_MS = 5000;

export class CellStore {
  #tiles = new Map(); // key → {cells, tile | null}, in order of last use
  #known = new Map(); // key → [gx, gy, cells, radius] of the index
  #wanted = [];
  #resting = new Map(); // key → when a failed tile may be asked for again
  #loading = new Set();
  #bytes = 0;
  #abort = new AbortController();
  #centres = null;

  /** @param base "/overlay/{run}/"; @param changed called when there is something new to draw;
   *  @param failed called with a sentence */
  constructor(base, changed, failed) {
    this.base = base;
    this.changed = changed;
    this.failed = failed;
    this.index = null;
    this.#readIndex();
  }

  close() {
    this.#abort.abort();
    this.#wanted = [];
    clearTimeout(this.poll);
  }

  async #readIndex() {
    const { signal } = this.#abort;
    try {
      const index = await getJson(`${this.base}index.json`, signal);
      const grown = this.index && index.count !== this.index.count;
      this.index = index;
      for (const entry of index.tiles) this.#known.set(squareKey(entry[0], entry[1]), entry);
      if (grown) this.#centres = null;
      if (index.growing) this.poll = setTimeout(() => this.#readIndex(), POLL_MS);
      this.changed();
    } catch (error) {
      if (!signal.aborted) this.failed(error.message);
    }
  }

  /** The index's entries that meet a level-0 box once grown by how far cells reach out of their tile. */
  #entries(box) {
    const { grid } = this.index;
    const reach = this.index.radius;
    const found = [];
    const gx0 = Math.floor((box.x0 - reach) / grid);
    const gx1 = Math.floor((box.x1 + reach) / grid);
    const gy1 = Math.floor((box.y1 + reach) / grid);
    for (let gy = Math.floor((box.y0 - reach) / grid); gy <= gy1; gy++) {
      for (let gx = gx0; gx <= gx1; gx++) {
        const entry = this.#known.get(squareKey(gx, gy));
        if (entry) found.push(entry);
      }
    }
    return found;
  }

  /** How many cells the tiles that meet `box` hold, loaded or not. */
  countIn(box) {
    return this.#entries(box).reduce((sum, entry) => sum + entry[2], 0);
  }

  /** Loaded tiles that meet `box`; missing and outgrown ones are fetched, and `changed` is called then. */
  tilesIn(box) {
    const tiles = [];
    this.#wanted = [];
    for (const entry of this.#entries(box)) {
      const key = squareKey(entry[0], entry[1]);
      const kept = this.#tiles.get(key);
      if (kept) {
        this.#tiles.delete(key); // to the end: most recently used
        this.#tiles.set(key, kept);
        tiles.push(kept);
      }
      const stale = !kept || kept.asked !== entry[2];
      if (stale && !(this.#resting.get(key) > performance.now())) this.#wanted.push(entry);
    }
    this.#fetchNext();
    return tiles;
  }

  /** Whether nothing of the last `tilesIn` is still on its way. */
  get settled() {
    return this.#wanted.length === 0 && this.#loading.size === 0;
  }

  #fetchNext() {
    while (this.#loading.size < AT_ONCE && this.#wanted.length) {
      const entry = this.#wanted.shift();
      const key = squareKey(entry[0], entry[1]);
      const arrived = this.#tiles.get(key)?.asked === entry[2]; // since the view was last looked at
      if (!arrived && !this.#loading.has(key)) this.#fetch(entry);
    }
  }

  async #fetch([gx, gy, count]) {
    const key = squareKey(gx, gy);
    const { signal } = this.#abort;
    this.#loading.add(key);
    try {
      const response = await fetch(`${this.base}${gx}_${gy}.bin?n=${count}`, { signal });
      if (!response.ok) throw new Error(await sentenceOf(response));
      const tile = outlines(await response.arrayBuffer());
      tile.asked = count; // a run that goes on may answer with more cells than its index knew
      this.#bytes += tile.bytes - (this.#tiles.get(key)?.bytes ?? 0);
      this.#tiles.set(key, tile);
      for (const [oldest, old] of this.#tiles) {
        if (this.#bytes <= KEPT_BYTES || oldest === key) break;
        this.#tiles.delete(oldest);
        this.#bytes -= old.bytes;
      }
    } catch (error) {
      this.#resting.set(key, performance.now() + REST_MS);
      if (!signal.aborted) this.failed(error.message);
    }
    this.#loading.delete(key);
    if (signal.aborted) return;
    this.changed();
    this.#fetchNext();
  }

  /** All centres once they are here, null before; the first call fetches them. A run that has just begun has none. */
  centres() {
    if (!this.index.count) return NO_CENTRES;
    if (this.#centres === null) {
      this.#centres = "loading";
      this.#fetchCentres();
    }
    return this.#centres === "loading" ? null : this.#centres;
  }

  async #fetchCentres() {
    const { signal } = this.#abort;
    try {
      const response = await fetch(`${this.base}centres.bin?n=${this.index.count}`, { signal });
      if (!response.ok) throw new Error(await sentenceOf(response));
      this.#centres = centres(await response.arrayBuffer(), this.index.grid);
      this.changed();
    } catch (error) {
      if (!signal.aborted) this.failed(error.message);
    }
  }
}
