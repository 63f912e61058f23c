// The video of the watch page: its document, its tracks and its chapters, which are read again when they change.
import { address, get } from '../api.js';
import { listen } from '../events.js';
import { Segments } from './segments.js';

// Number of rows of the first page of a track, which is shown at once, and of those that follow.
const FIRST_PAGE = 100;
const PAGE = 5000;
// Number of rows whose words are read at once.
const WORDS_PAGE = 100;
// Time between two readings of what changes often.
const PERIOD_MS = 1000;
// Time after which a page of rows is read even if the browser is never idle.
const MAX_WAIT_MS = 500;
const NO_SEGMENTS = new Segments();

// Wait until the browser has drawn what there is. Safari has no such callback.
function idle() {
  return new Promise((resolve) => {
    if (window.requestIdleCallback) requestIdleCallback(resolve, { timeout: MAX_WAIT_MS });
    else setTimeout(resolve);
  });
}

// Emits `video` (its document), `track` and `words` (detail: the source), `chapters`, `gone` (detail: whether it can be brought back, and a sentence), and `failed` (detail: a sentence).
export class Video extends EventTarget {
  #tracks = new Map();
  #shownVersions = new Map();
  #generations = new Map();
  #reading = null;
  #ahead = new Map();
  #timer = null;
  #readMs = -Infinity;
  // Whether something of the video was written since the last reading, which its document may not show.
  #isStale = false;

  constructor(id) {
    super();
    this.id = id;
    this.document = null;
    this.chapters = null;
    this.isGone = false;
    listen('videos', ({ ids }) => {
      if (!ids.includes(id)) return;
      this.#isStale = true;
      this.refresh();
    });
    listen('jobs', ({ jobs }) => { if (jobs.some((job) => job.video_id === id)) this.refresh(); });
    listen('reset', () => { this.#isStale = true; this.refresh(); });
    listen('connection', (isThere) => { if (isThere) this.refresh(); });
  }

  // Begin to read what is shown first, while the page is still being built.
  async readAhead() {
    const begin = (path) => {
      const reply = get(path);
      // Who reads it gets the error.
      reply.catch(() => {});
      this.#ahead.set(path, reply);
      return reply;
    };
    const { tracks } = await begin(this.#path());
    for (const { source, segments } of tracks) if (segments) begin(this.#pagePath(source, 0, FIRST_PAGE));
  }

  #get(path) {
    const reply = this.#ahead.get(path) ?? get(path);
    this.#ahead.delete(path);
    return reply;
  }

  #path() {
    return `/v1/videos/${encodeURIComponent(this.id)}`;
  }

  get duration() {
    return this.document?.duration_s ?? 0;
  }

  // Return the segments of a source, as far as they have been read.
  segments(source) {
    return this.#tracks.get(source)?.segments ?? NO_SEGMENTS;
  }

  // Return what the document says of a source: what was found, is looked for, or was not looked for.
  state(source) {
    return this.document?.sources.find((state) => state.source === source) ?? null;
  }

  track(source) {
    return this.document?.tracks.find((track) => track.source === source) ?? null;
  }

  // Return the sources that have segments, in the order in which they are shown.
  get sources() {
    return (this.document?.sources ?? []).map((state) => state.source).filter((source) => this.track(source)?.segments);
  }

  // Read again what may have changed, at most once in a period.
  refresh() {
    if (this.#timer !== null) return;
    const wait = Math.max(0, this.#readMs + PERIOD_MS - performance.now());
    this.#timer = setTimeout(async () => {
      await this.#reading;
      this.#timer = null;
      await this.load();
    }, wait);
  }

  // Read the document and what has changed of the tracks.
  load() {
    this.#readMs = performance.now();
    this.#reading = this.#read().catch((error) => this.dispatchEvent(new CustomEvent('failed', { detail: error.message })));
    return this.#reading;
  }

  async #read() {
    let document;
    try {
      document = await this.#get(this.#path());
    } catch (error) {
      if (![404, 410].includes(error.status)) throw error;
      this.isGone = true;
      this.dispatchEvent(new CustomEvent('gone', { detail: { isRemoved: error.status === 410, reason: error.message } }));
      return;
    }
    this.isGone = false;
    this.document = document;
    this.dispatchEvent(new Event('video'));
    for (const source of [...this.#tracks.keys()]) if (!this.track(source)?.segments) this.#set(source, null);
    // A track that is written again in the same second has the same key. While a job runs, only what it adds is read.
    const isStale = this.#isStale && !document.sources.some((state) => state.state === 'running');
    this.#isStale = false;
    const changed = this.sources.filter((source) => isStale || this.#key(source) !== this.#tracks.get(source)?.key);
    await Promise.all(changed.map((source) => this.#readTrack(source, { isWhole: isStale })));
    if (changed.length || !this.chapters) this.#readChapters();
  }

  #key(source) {
    const { updated_at, segments } = this.track(source);
    return JSON.stringify([updated_at, segments, this.shownVersion(source)]);
  }

  // Read a track page by page. What was shown before stays until there is as much of the new one.
  async #readTrack(source, { isWhole: readsAll = false } = {}) {
    const generation = (this.#generations.get(source) ?? 0) + 1;
    this.#generations.set(source, generation);
    const key = this.#key(source);
    const before = this.#tracks.get(source);
    const known = !readsAll && before?.isWhole && before.version === this.shownVersion(source) ? before.segments.rows : [];
    // A track that has grown begins with what was read of it. Its last row may have become longer.
    let rows = known.slice(0, -1);
    let offset = rows.length;
    do {
      const page = await this.#get(this.#pagePath(source, offset, rows.length ? PAGE : FIRST_PAGE));
      if (this.#generations.get(source) !== generation) return;
      if (offset && offset === known.length - 1 && page.segments[0]?.start_s !== known.at(-1).start_s) {
        rows = [];
        offset = 0;
        continue;
      }
      rows.push(...page.segments);
      offset = page.next_offset;
      const isWhole = offset === null;
      if (isWhole || rows.length > known.length)
        this.#set(source, { key: isWhole ? key : '', segments: new Segments(rows.slice()), isWhole, version: this.shownVersion(source) });
      if (!isWhole) await idle();
    } while (offset !== null);
  }

  #pagePath(source, offset, limit) {
    return address(`${this.#path()}/segments`, { source, offset: offset || '', limit, version: this.shownVersion(source), words: '0' });
  }

  // Read the times of the words of some rows, which pages of rows come without: ten hours have a hundred thousand words. Emits `words`.
  readWords(source, indices) {
    const { rows } = this.segments(source);
    const missing = indices.filter((index) => rows[index] && !rows[index].hasAskedWords);
    for (const number of new Set(missing.map((index) => Math.floor(index / WORDS_PAGE)))) this.#readWordsPage(source, rows, number * WORDS_PAGE);
  }

  async #readWordsPage(source, rows, offset) {
    const part = rows.slice(offset, offset + WORDS_PAGE);
    for (const row of part) row.hasAskedWords = true;
    try {
      const { segments } = await get(address(`${this.#path()}/segments`, { source, offset: offset || '', limit: WORDS_PAGE, version: this.shownVersion(source) }));
      // The track may have been written again since its rows were read.
      part.forEach((row, index) => { if (segments[index]?.start_s === row.start_s && segments[index].text === row.text) row.words = segments[index].words; });
      this.dispatchEvent(new CustomEvent('words', { detail: source }));
    } catch {
      for (const row of part) row.hasAskedWords = false;
    }
  }

  #set(source, track) {
    if (track) this.#tracks.set(source, track);
    else this.#tracks.delete(source);
    this.dispatchEvent(new CustomEvent('track', { detail: source }));
  }

  // The first chapters of a server take seconds, for which nothing else waits.
  async #readChapters() {
    const chapters = await get(`/v1/videos/${this.id}/chapters`).catch(() => null);
    if (!chapters) return;
    this.chapters = chapters;
    this.dispatchEvent(new Event('chapters'));
  }

  // Show an earlier version of a track, or the present one (null).
  async showVersion(source, number) {
    if (number === null) this.#shownVersions.delete(source);
    else this.#shownVersions.set(source, number);
    await this.#readTrack(source).catch((error) => this.dispatchEvent(new CustomEvent('failed', { detail: error.message })));
  }

  shownVersion(source) {
    return this.#shownVersions.get(source) ?? null;
  }
}
