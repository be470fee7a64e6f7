/**
 * Which of many rows are drawn, and how much room the others take.
 *
 * A row's height is known once it was drawn; until then it counts as the mean of those that were.
 */
export class Rows {
  #heights = new Map();
  #sum = 0;

  /** Remember a row's height in pixels. */
  measure(key, height) {
    this.#sum += height - (this.#heights.get(key) ?? 0);
    this.#heights.set(key, height);
  }

  forget() {
    this.#heights.clear();
    this.#sum = 0;
  }

  height(key) {
    return this.#heights.get(key) ?? this.#mean;
  }

  /** Pixels above a row. */
  above(keys, index) {
    let sum = 0;
    for (let i = 0; i < index; i++) sum += this.height(keys[i]);
    return sum;
  }

  /** The rows between two edges, and the room above and below them: `{start, end, before, after}`; all in pixels. */
  between(keys, top, bottom) {
    let start = 0;
    let before = 0;
    while (start < keys.length && before + this.height(keys[start]) < top) before += this.height(keys[start++]);
    let end = start;
    let drawn = before;
    while (end < keys.length && drawn < bottom) drawn += this.height(keys[end++]);
    return { start, end, before, after: this.#rest(keys, end) };
  }

  /** The last rows that fill a height. */
  last(keys, height) {
    let start = keys.length;
    for (let filled = 0; start > 0 && filled < height; filled += this.height(keys[start])) start -= 1;
    return { start, end: keys.length, before: this.above(keys, start), after: 0 };
  }

  /** So many rows around one. */
  around(keys, index, count) {
    const start = Math.max(0, index - count);
    const end = Math.min(keys.length, index + count + 1);
    return { start, end, before: this.above(keys, start), after: this.#rest(keys, end) };
  }

  #rest(keys, from) {
    let sum = 0;
    for (let i = from; i < keys.length; i++) sum += this.height(keys[i]);
    return sum;
  }

  get #mean() {
    return this.#heights.size > 0 ? this.#sum / this.#heights.size : 64;
  }
}
