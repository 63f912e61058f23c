// A list of rows of different heights, of which only those in view are in the document.
const OVERSCAN_PX = 300;
// Time after a person has scrolled in which the list does not move by itself, in milliseconds.
const READING_MS = 8000;

export class RowList {
  #rows = new Map();
  #heights = new Float32Array(0);
  #tops = new Float64Array(1);
  #count = 0;
  #personMs = -Infinity;
  #frame = null;
  #width = 0;

  // `make()` returns an element; `fill(element, index)` lets it show a row; `estimate(index, width)` returns a height in pixels.
  constructor({ make, fill, estimate, label, scrolled = () => {} }) {
    Object.assign(this, { make, fill, estimate });
    this.space = document.createElement('div');
    this.space.className = 'space';
    this.element = document.createElement('div');
    this.element.className = 'list';
    this.element.tabIndex = 0;
    this.element.setAttribute('role', 'list');
    this.element.setAttribute('aria-label', label);
    this.element.append(this.space);
    this.element.addEventListener('scroll', () => {
      // Scrolling by the bar of a list in a shadow root is not seen outside of it, where frames are held back; see idle_frames.js.
      window.dispatchEvent(new Event('longview-active'));
      this.schedule();
      scrolled();
    }, { passive: true });
    for (const name of ['wheel', 'touchmove', 'pointerdown', 'keydown'])
      this.element.addEventListener(name, (event) => {
        if (name === 'keydown' && !['ArrowUp', 'ArrowDown', 'PageUp', 'PageDown', 'Home', 'End'].includes(event.key)) return;
        this.#personMs = performance.now();
        scrolled();
      }, { passive: true });
    new ResizeObserver(() => { if (this.element.clientWidth !== this.#width) this.#measureAll(); this.schedule(); }).observe(this.element);
  }

  // Whether a person has scrolled a moment ago, and is reading what they have found.
  get isRead() {
    return performance.now() - this.#personMs < READING_MS;
  }

  followAgain() {
    this.#personMs = -Infinity;
  }

  // Show a number of rows, whose contents are new but for the first `kept` ones. The row at the top of the view stays there, if it is still there.
  setCount(count, { keepsPlace = true, kept = 0 } = {}) {
    const place = this.#place();
    this.#count = count;
    for (const [index, row] of this.#rows) {
      row.setAttribute('aria-setsize', count);
      if (index < kept) continue;
      row.remove();
      this.#rows.delete(index);
    }
    this.#measureAll();
    this.element.scrollTop = keepsPlace && place ? this.#tops[Math.min(place.index, count)] + place.offset : 0;
    this.draw();
  }

  #place() {
    if (!this.#count) return null;
    const index = this.#indexAt(this.element.scrollTop);
    return { index, offset: this.element.scrollTop - this.#tops[index] };
  }

  #measureAll() {
    const place = this.#place();
    this.#width = this.element.clientWidth;
    this.#heights = Float32Array.from({ length: this.#count }, (_, index) => this.estimate(index, this.#width));
    this.#addTops(0);
    if (place && place.index < this.#count) this.element.scrollTop = this.#tops[place.index] + place.offset;
  }

  #addTops(from) {
    if (this.#tops.length !== this.#count + 1) {
      this.#tops = new Float64Array(this.#count + 1);
      from = 0;
    }
    for (let index = from; index < this.#count; index++) this.#tops[index + 1] = this.#tops[index] + this.#heights[index];
    this.space.style.height = `${this.#tops[this.#count]}px`;
  }

  // Return the row at a distance from the top of the list.
  #indexAt(y) {
    let low = 0;
    let high = this.#count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#tops[middle] <= y) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  schedule() {
    this.#frame ??= requestAnimationFrame(() => { this.#frame = null; this.draw(); });
  }

  draw() {
    const { scrollTop, clientHeight } = this.element;
    if (!clientHeight) return;
    const first = this.#indexAt(scrollTop - OVERSCAN_PX);
    const last = Math.min(this.#count, this.#indexAt(scrollTop + clientHeight + OVERSCAN_PX) + 1);
    const free = [];
    for (const [index, row] of this.#rows)
      if (index < first || index >= last) {
        row.remove();
        free.push(row);
        this.#rows.delete(index);
      }
    let next = this.space.firstElementChild;
    for (let index = first; index < last; index++) {
      if (this.#rows.has(index)) {
        next = this.#rows.get(index).nextElementSibling;
        continue;
      }
      const row = free.pop() ?? this.make();
      // Screen readers read the rows in the order of the document.
      this.space.insertBefore(row, next);
      row.dataset.index = index;
      row.setAttribute('aria-setsize', this.#count);
      row.setAttribute('aria-posinset', index + 1);
      this.fill(row, index);
      this.#rows.set(index, row);
    }
    this.#correctHeights();
    for (const [index, row] of this.#rows) row.style.transform = `translateY(${this.#tops[index]}px)`;
  }

  // Put the true heights of the rows in the document in place of the estimates. What is in view stays where it is.
  #correctHeights() {
    const place = this.#place();
    let from = this.#count;
    for (const [index, row] of this.#rows) {
      const height = row.offsetHeight;
      if (!height || Math.abs(height - this.#heights[index]) < 0.5) continue;
      this.#heights[index] = height;
      from = Math.min(from, index);
    }
    if (from === this.#count) return;
    this.#addTops(from);
    if (place) {
      const top = this.#tops[place.index] + place.offset;
      if (Math.abs(top - this.element.scrollTop) >= 1) this.element.scrollTop = top;
    }
  }

  // The indices of the rows in the document.
  get indices() {
    return [...this.#rows.keys()];
  }

  // Fill rows in the document again: all of them, or those for whose index a function returns true.
  refill(needsIt = () => true) {
    for (const [index, row] of this.#rows) if (needsIt(index)) this.fill(row, index);
    this.schedule();
  }

  row(index) {
    return this.#rows.get(index) ?? null;
  }

  // Whether all of a row is in view.
  isInView(index) {
    const { scrollTop, clientHeight } = this.element;
    return this.#tops[index] >= scrollTop && this.#tops[index + 1] <= scrollTop + clientHeight;
  }

  // Scroll to a row unless it is in view already.
  show(index) {
    if (index < 0 || index >= this.#count || this.isInView(index)) return;
    const { clientHeight } = this.element;
    const top = this.#tops[index];
    const bottom = this.#tops[index + 1];
    this.element.scrollTop = top - (clientHeight - Math.min(clientHeight, bottom - top)) / 3;
    this.draw();
    // The heights above it were estimates.
    const corrected = this.#tops[index];
    if (corrected < this.element.scrollTop || corrected > this.element.scrollTop + clientHeight) this.element.scrollTop = corrected - clientHeight / 3;
  }
}
