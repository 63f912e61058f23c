// The library: its list of videos, page by page from the server, with filters, an order, and what is done with videos.
import { address, get, patch, remove } from './api.js';
import { pickers } from './adding.js';
import { BulkBar, bulk } from './bulk.js';
import { ChangedVideos } from './changed_videos.js';
import { element, shadow, toast } from './dom.js';
import { listen } from './events.js';
import { Grid } from './grid.js';
import { askRunOptions } from './index_dialog.js';
import { jobList } from './jobs.js';
import { pageAddress } from './page_address.js';
import { Selection } from './selection.js';
import { text } from './strings.js';
import { WaitingFiles } from './waiting_files.js';

const PAGE = 120;
const TYPING_MS = 150;
// Number of videos up to which each is read alone after a change.
const MAX_SINGLE = 20;
const FILTERS = ['query', 'state', 'source', 'sort'];
const SORTS = { added: { sort: 'added', descending: true }, title: { sort: 'title' }, duration: { sort: 'duration', descending: true }, watched: { sort: 'watched', descending: true } };
// The states of the filter; `missing` is a parameter of its own.
const STATES = ['running', 'waiting', 'paused', 'failed', 'partial', 'outdated', 'missing'];

// The first page is asked for before Gradio has drawn the place of the library.
let firstPage = location.pathname === '/' && !location.search ? get(firstAddress()).catch(() => null) : null;

function firstAddress() {
  return address('/v1/videos', { limit: PAGE, ...SORTS.added });
}

class Library extends HTMLElement {
  #grid = new Grid();
  #files = new WaitingFiles();
  #fileCount = 0;
  #bar = new BulkBar((action, videos) => this.#act(action, videos, this.#selected.ids));
  #videos = [];
  #selected = new Selection();
  #listed = null;
  #total = null;
  #cursor = null;
  #loading = null;
  #generation = 0;
  #changed = new ChangedVideos((ids) => this.#readAgain(ids));
  #statuses = new Map();
  #running = new Set();
  #error = '';
  #said = null;

  async connectedCallback() {
    if (this.shadowRoot) return;
    const root = shadow(this);
    const parameters = new URLSearchParams(location.search);
    this.filters = Object.fromEntries(FILTERS.map((name) => [name, parameters.get(name) ?? '']));
    this.#build(root);
    listen('videos', ({ ids }) => this.#changed.add(ids));
    listen('positions', ({ ids }) => this.#readPositions(ids));
    jobList.addEventListener('change', ({ detail }) => {
      this.#refreshStates(detail.map(({ job }) => job));
      this.#drawFiles();
    });
    listen('reset', async () => { if (!(await this.#reload())) this.#load(); });
    listen('connection', (isThere) => { if (isThere && this.#error) this.#load(); });
    window.addEventListener('scroll', () => this.#schedule(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(this.#grid.element);
    window.addEventListener('popstate', () => this.#readAddress());
    await this.#load();
  }

  #build(root) {
    const choice = (name, values, label) =>
      element('select', { 'aria-label': text(label), 'data-filter': name, change: () => this.#filter() },
        Object.entries(values).map(([value, key]) => element('option', { value, text: text(key), selected: this.filters[name] === value })));
    this.find = element('input', { type: 'search', placeholder: text('library.find'), 'aria-label': text('library.find'), value: this.filters.query, input: () => this.#typed() });
    this.count = element('span', { class: 'count', role: 'status' });
    this.selects = [
      choice('state', { '': 'library.state.all', ...Object.fromEntries(STATES.map((state) => [state, `library.state.${state}`])) }, 'library.state'),
      choice('source', { '': 'library.source.all', captions: 'source.captions', speech: 'source.speech', screen_text: 'source.screen_text', subtitles: 'source.subtitles' }, 'library.source'),
      choice('sort', { '': 'library.sort.added', title: 'library.sort.title', duration: 'library.sort.duration', watched: 'library.sort.watched' }, 'library.sort'),
    ];
    this.add = element('button', { class: 'primary', text: text('library.add'), click: () => this.panel.toggleAttribute('hidden') });
    this.panel = pickers({ close: () => { this.panel.hidden = true; } });
    this.panel.hidden = true;
    this.tools = element('div', { class: 'tools' }, this.find, ...this.selects, this.count, this.add);
    this.message = element('div', { class: 'message' });
    this.empty = element('div', { class: 'empty', hidden: true }, pickers({ isLarge: true }));
    root.append(this.tools, this.panel, this.#bar.element, this.message, this.empty, this.#files.element, this.#grid.element);
    this.#grid.element.addEventListener('click', (event) => this.#clicked(event));
    this.#grid.element.addEventListener('change', (event) => this.#checked(event));
  }

  // Open the panel with a path in its field.
  offerPath(path) {
    this.panel.hidden = !this.empty.hidden;
    const field = (this.empty.hidden ? this.panel : this.empty).querySelector('.path');
    field.value = path;
    field.focus();
  }

  #typed() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.#filter(), TYPING_MS);
  }

  #filter() {
    this.filters = { query: this.find.value.trim(), ...Object.fromEntries(this.selects.map((select) => [select.dataset.filter, select.value])) };
    history.replaceState(null, '', pageAddress('/', this.filters));
    this.#drawFiles();
    this.#load();
  }

  #readAddress() {
    const parameters = new URLSearchParams(location.search);
    this.find.value = parameters.get('query') ?? '';
    for (const select of this.selects) select.value = parameters.get(select.dataset.filter) ?? '';
    this.#filter();
  }

  #listAddress(cursor, limit = PAGE) {
    const { query, state, source, sort } = this.filters;
    const isMissing = state === 'missing';
    return address('/v1/videos', { query, source, state: isMissing ? '' : state, missing: isMissing ? true : '', cursor, limit, ...SORTS[sort || 'added'] });
  }

  async #load() {
    const generation = ++this.#generation;
    if (this.#total === null) {
      this.message.textContent = text('library.loading');
      this.#said = null;
    }
    let page;
    try {
      const wanted = this.#listAddress(null);
      page = (wanted === firstAddress() && (await firstPage)) || (await get(wanted));
      firstPage = null;
    } catch (error) {
      if (generation !== this.#generation) return;
      // What was read stays: a library that cannot be read is not an empty one.
      this.#error = error.message;
      this.#loading = null;
      this.#cursor = null;
      this.#draw();
      return;
    }
    // A newer search has begun meanwhile.
    if (generation !== this.#generation) return;
    this.#error = '';
    this.#loading = null;
    // Another order shows others first, and has the same videos.
    const listed = JSON.stringify({ ...this.filters, sort: '' });
    this.#show(page.videos, page.total, page.next_cursor, listed === this.#listed);
    this.#listed = listed;
  }

  // Show what was read. `isOtherOrder`: of the same list in another order.
  #show(videos, total, cursor, isOtherOrder = false) {
    const before = new Set(isOtherOrder ? [] : this.#videos.map((video) => video.video_id));
    this.#selected.keep(videos, before, !cursor);
    this.#videos = videos;
    this.#total = total;
    this.#cursor = cursor;
    this.#measure();
  }

  // Load the next pages up to a position. The server gives them one after the other.
  async #loadUpTo(index) {
    if (this.#loading || !this.#cursor || index < this.#videos.length) return;
    const generation = this.#generation;
    this.#loading = get(this.#listAddress(this.#cursor));
    try {
      const page = await this.#loading;
      if (generation !== this.#generation) return;
      this.#videos.push(...page.videos);
      this.#changed.hurry(page.videos.map((video) => video.video_id));
      this.#total = page.total;
      this.#cursor = page.next_cursor;
    } catch (error) {
      toast(error.message);
      this.#cursor = null;
    } finally {
      if (generation === this.#generation) this.#loading = null;
    }
    this.#draw();
  }

  // Read videos again that have changed; return whether they could be read.
  async #readAgain(ids) {
    // A video that is new or gone changes the list, and each change may add one to a state; others are read again alone.
    const unknown = ids.filter((id) => !this.#isLoaded(id));
    let isSame = !this.filters.state && !unknown.length && ids.length <= MAX_SINGLE;
    for (const id of isSame ? ids : []) {
      const video = await get(`/v1/videos/${id}`).catch(() => null);
      const index = this.#videos.findIndex((other) => other.video_id === id);
      isSame &&= video !== null && (index < 0 || !this.#mayMove(this.#videos[index], video));
      if (video && index >= 0) this.#videos[index] = video;
    }
    if (isSame) {
      this.#draw();
      return true;
    }
    if (!(await this.#reload())) return false;
    // Jobs commit often; what they find for videos that are not loaded changes little of the list.
    for (const id of unknown) if (this.#running.has(id) && !this.#isLoaded(id)) this.#changed.delay(id);
    await this.#readSelected(unknown.filter((id) => this.#selected.has(id) && !this.#isLoaded(id)));
    return true;
  }

  // Read selected videos again that are not loaded; those that are gone are not selected any more.
  async #readSelected(ids) {
    for (const id of ids) {
      const video = await get(`/v1/videos/${id}`).catch((error) => (error.status ? null : undefined));
      if (video) this.#selected.add(video);
      else if (video === null) this.#selected.delete(id);
    }
    if (ids.length) this.#drawBar();
  }

  #isLoaded(id) {
    return this.#videos.some((video) => video.video_id === id);
  }

  // Whether a change of a video may move it in the list, or out of it.
  #mayMove(before, after) {
    const { query, sort } = this.filters;
    if (before.title !== after.title && (query || sort === 'title')) return true;
    return before.watched_at !== after.watched_at && sort === 'watched';
  }

  // A position that was stored changes the bar of a card, and the order only if that is by the time of watching.
  async #readPositions(ids) {
    if (this.filters.sort === 'watched') {
      await this.#changed.add(ids);
      return;
    }
    for (const id of ids) {
      const video = this.#videos.find((one) => one.video_id === id);
      const read = video && (await get(`/v1/videos/${id}`).catch(() => null));
      if (!read) continue;
      video.position_s = read.position_s;
      video.watched_at = read.watched_at;
      this.#grid.showPosition(id);
    }
  }

  // Read what is shown again, and keep the place on the page. Return whether it could be read.
  async #reload() {
    const generation = ++this.#generation;
    this.#loading = null;
    const count = Math.max(PAGE, this.#videos.length);
    const videos = [];
    let cursor = null;
    let total = 0;
    try {
      do {
        const page = await get(this.#listAddress(cursor, Math.min(200, count - videos.length)));
        // A newer reading has begun meanwhile.
        if (generation !== this.#generation) return true;
        videos.push(...page.videos);
        ({ total, next_cursor: cursor } = page);
      } while (cursor && videos.length < count);
    } catch {
      return false;
    }
    this.#error = '';
    this.#show(videos, total, cursor);
    return true;
  }

  #refreshStates(jobs) {
    // A job that begins, is paused or ends changes what is said of its video, although nothing new was found.
    const changed = jobs.filter((job) => job.video_id && this.#statuses.get(job.job_id) !== job.status);
    for (const job of changed) {
      this.#statuses.set(job.job_id, job.status);
      if (job.status === 'running') this.#running.add(job.video_id);
      else this.#running.delete(job.video_id);
    }
    const ids = changed.map((job) => job.video_id).filter((id) => this.filters.state || this.#isLoaded(id) || this.#selected.has(id));
    if (ids.length) this.#changed.add(ids);
    const byVideo = new Map(jobs.filter((job) => job.video_id).map((job) => [job.video_id, job]));
    for (const video of this.#videos) {
      const job = byVideo.get(video.video_id);
      if (!job) continue;
      for (const state of video.sources ?? [])
        // The share of the job is of all its sources, and that of a card is of one.
        if (state.state === 'running' && job.status === 'running') state.seconds_left = job.seconds_left;
    }
  }

  #measure() {
    this.#grid.measure(this.clientWidth);
    this.#draw();
  }

  #schedule() {
    if (this.isScheduled) return;
    this.isScheduled = true;
    requestAnimationFrame(() => { this.isScheduled = false; this.#draw(); });
  }

  #drawFiles() {
    this.#fileCount = this.#files.draw(this.filters);
    this.#draw();
  }

  #draw() {
    if (this.#total === null && !this.#error) return;
    const isFiltered = ['query', 'state', 'source'].some((name) => this.filters[name]);
    const isEmpty = this.#total === 0 && !isFiltered && !this.#error;
    this.empty.hidden = !isEmpty;
    this.tools.hidden = isEmpty;
    const videos = this.#total === 1 ? text('library.count.one') : text('library.count', { count: this.#total?.toLocaleString() });
    this.count.textContent = this.#total === null ? '' : [videos, this.#fileCount && text('library.count.files', { count: this.#fileCount.toLocaleString() })].filter(Boolean).join(', ');
    this.#drawMessage(isFiltered && !this.#fileCount);
    this.#drawBar();
    this.#loadUpTo(this.#grid.draw(this.#videos, this.#total ?? 0, this.#selected));
  }

  // Say why there is no list, with a button that stays while the same is said.
  #drawMessage(isFiltered) {
    const { query, state, source } = this.filters;
    const isNone = this.#total === 0 && isFiltered;
    const none = isNone ? text(state === 'failed' && !query && !source ? 'library.none.failed' : 'library.none') : '';
    const said = this.#error || none;
    if (said === this.#said) return;
    this.#said = said;
    const button = this.#error
      ? element('button', { text: text('queue.retry'), click: () => this.#load() })
      : element('button', { text: text('library.none.action'), click: () => { history.replaceState(null, '', pageAddress('/')); this.#readAddress(); } });
    this.message.replaceChildren(...(said ? [said, ' ', button] : []));
  }

  #drawBar() {
    const videos = this.#selected.size ? this.#selected.videos(this.#videos) : [];
    this.#bar.update(videos.length, videos);
  }

  #clicked(event) {
    const button = event.target.closest('button[data-action]');
    if (!button) return;
    const { action } = button.dataset;
    const video = this.#videos.find((one) => one.video_id === button.closest('[data-video]').dataset.video);
    if (!video) return;
    if (action === 'menu') this.#grid.toggleMenu(button);
    else this.#grid.closeMenus();
    if (action === 'rename') this.#rename(video);
    if (['remove', 'index'].includes(action)) this.#act(action, [video]);
  }

  #checked(event) {
    const id = event.target.closest('[data-video]')?.dataset.video;
    if (!id || event.target.type !== 'checkbox') return;
    const video = this.#videos.find((one) => one.video_id === id);
    if (event.target.checked && video) this.#selected.add(video);
    else this.#selected.delete(id);
    this.#drawBar();
  }

  #deselect(ids) {
    for (const id of ids) this.#selected.delete(id);
    this.#grid.showSelected(this.#selected);
    this.#drawBar();
  }

  async #rename(video) {
    const title = prompt(text('library.rename.prompt', { title: video.title }), video.title);
    if (title === null || title === video.title) return;
    await patch(`/v1/videos/${video.video_id}`, { title }).catch((error) => toast(error.message));
  }

  // Do something with videos. `selected`: the ids for which it was chosen, of which some may need nothing.
  async #act(action, videos, selected = []) {
    if (action === 'clear') {
      this.#deselect(selected);
      return;
    }
    try {
      const ids = videos.map((video) => video.video_id);
      let done;
      if (action === 'remove') done = await this.#remove(videos);
      else if (action === 'index') {
        const options = await askRunOptions(this.shadowRoot, videos);
        if (!options) return;
        done = await bulk(action, ids, { options });
      } else done = await bulk(action, ids);
      // Who has paused or resumed jobs may do something else with them. What was not done can be tried again.
      if (!['pause', 'resume'].includes(action)) this.#deselect([...selected, ...ids].filter((id) => done.includes(id) || !ids.includes(id)));
    } catch (error) {
      toast(error.message);
    }
  }

  // Remove videos; return the ids of those that were removed.
  async #remove(videos) {
    const ids = videos.map((video) => video.video_id);
    let removed = ids;
    if (ids.length === 1) await remove(`/v1/videos/${ids[0]}`);
    else removed = await bulk('remove', ids);
    if (!removed.length) return removed;
    const message = removed.length === 1 ? text('library.removed', { title: videos.find((video) => video.video_id === removed[0]).title }) : text('library.removed.many', { count: removed.length });
    toast(message, { label: text('library.undo'), run: () => bulk('undo-removal', removed).catch((error) => toast(error.message)) });
    return removed;
  }
}

customElements.define('longview-library', Library);
