// The videos that are selected in a list of which only the first pages are loaded.

export class Selection {
  #videos = new Map();

  get size() {
    return this.#videos.size;
  }

  get ids() {
    return [...this.#videos.keys()];
  }

  has(id) {
    return this.#videos.has(id);
  }

  add(video) {
    this.#videos.set(video.video_id, video);
  }

  delete(id) {
    this.#videos.delete(id);
  }

  // Return the selected videos as they were last read. `loaded`: what the list has now.
  videos(loaded) {
    for (const video of loaded) if (this.has(video.video_id)) this.add(video);
    return [...this.#videos.values()];
  }

  // Of a list that was read again, keep what it shows, and what it did not show before either because of its order. What it no
  // longer shows is not selected: the videos were removed, or match no more. `before`: the ids of what was loaded.
  keep(loaded, before, isWhole) {
    const shown = new Set(loaded.map((video) => video.video_id));
    for (const id of this.#videos.keys()) if (!shown.has(id) && (isWhole || before.has(id))) this.delete(id);
  }
}
