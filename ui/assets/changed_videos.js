// Which videos have changed and are to be read again: one reading at a time, and some of them only after a while.

const DELAY_MS = 4000;

export class ChangedVideos {
  #changed = new Set();
  #delayed = new Set();
  #isReading = false;
  #timer = null;

  // `read` reads the videos with these ids again, and returns whether it could. What it could not read is read again later.
  constructor(read) {
    this.read = read;
  }

  // Read videos again that have changed.
  async add(ids) {
    for (const id of ids) this.#changed.add(id);
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      for (let next; (next = this.#urgent()).length; ) {
        for (const id of next) this.#changed.delete(id);
        if (await this.read(next)) continue;
        for (const id of next) {
          this.#changed.add(id);
          this.#delayed.add(id);
        }
      }
    } finally {
      this.#isReading = false;
    }
    if (this.#changed.size) this.#timer ??= setTimeout(() => this.#readDelayed(), DELAY_MS);
  }

  // Read the next changes of a video only after a while, together with others that wait.
  delay(id) {
    this.#delayed.add(id);
  }

  // Read the changes of videos at once.
  hurry(ids) {
    for (const id of ids) this.#delayed.delete(id);
  }

  #urgent() {
    return [...this.#changed].filter((id) => !this.#delayed.has(id));
  }

  #readDelayed() {
    this.#timer = null;
    this.#delayed.clear();
    this.add([]);
  }
}
