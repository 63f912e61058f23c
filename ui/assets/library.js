// The library: a grid of posters, of which only those in view are in the document, however many videos there are.
import { address, get, patch, post, remove } from './api.js';
import { element, shadow, toast } from './dom.js';
import { listen } from './events.js';
import { clock, duration, percent } from './format.js';
import { hasText, text } from './strings.js';
import { pickers } from './adding.js';
import { askRunOptions } from './index_dialog.js';

const PAGE = 120;
const CARD = { minWidth: 220, textHeight: 92, gap: 16 };
const OVERSCAN_ROWS = 2;
// Time for which a card has to be in view before its picture is loaded: those that are scrolled past need none.
const POSTER_MS = 120;
// Number of videos that one request changes.
const MAX_BULK = 1000;
const TYPING_MS = 150;
const FILTERS = ['query', 'state', 'source', 'sort'];
const SORTS = { added: { sort: 'added', descending: true }, title: { sort: 'title' }, duration: { sort: 'duration', descending: true } };

// The first page is asked for before Gradio has drawn the place of the library.
let firstPage = location.pathname === '/' && !location.search ? get(firstAddress()).catch(() => null) : null;

function firstAddress() {
  return address('/v1/videos', { limit: PAGE, ...SORTS.added });
}

class Library extends HTMLElement {
  #videos = [];
  #cards = new Map();
  #selected = new Set();
  #total = null;
  #cursor = null;
  #loading = null;
  #generation = 0;
  #changed = new Set();
  #refreshing = false;
  #statuses = new Map();
  #layout = { columns: 1, width: 0, height: 0 };

  async connectedCallback() {
    if (this.shadowRoot) return;
    const root = shadow(this);
    const parameters = new URLSearchParams(location.search);
    this.filters = Object.fromEntries(FILTERS.map((name) => [name, parameters.get(name) ?? '']));
    this.#build(root);
    listen('videos', ({ ids }) => this.#refresh(new Set(ids)));
    listen('jobs', ({ jobs }) => this.#refreshStates(jobs));
    listen('reset', () => this.#load());
    window.addEventListener('scroll', () => this.#schedule(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(this.grid);
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
      choice('state', { '': 'library.state.all', running: 'library.state.running', failed: 'library.state.failed', missing: 'library.state.missing' }, 'library.state'),
      choice('source', { '': 'library.source.all', captions: 'source.captions', speech: 'source.speech', screen_text: 'source.screen_text', subtitles: 'source.subtitles' }, 'library.source'),
      choice('sort', { '': 'library.sort.added', title: 'library.sort.title', duration: 'library.sort.duration' }, 'library.sort'),
    ];
    this.add = element('button', { class: 'primary', text: text('library.add'), click: () => this.panel.toggleAttribute('hidden') });
    this.panel = pickers({ close: () => { this.panel.hidden = true; } });
    this.panel.hidden = true;
    this.tools = element('div', { class: 'tools' }, this.find, ...this.selects, this.count, this.add);
    this.bulk = element('div', { class: 'bulk', hidden: true });
    this.grid = element('div', { class: 'grid', role: 'list' });
    this.message = element('div', { class: 'message' });
    this.empty = element('div', { class: 'empty', hidden: true }, pickers({ isLarge: true }));
    root.append(this.tools, this.panel, this.bulk, this.message, this.empty, this.grid);
    this.grid.addEventListener('click', (event) => this.#clicked(event));
    this.grid.addEventListener('change', (event) => this.#checked(event));
    this.grid.addEventListener('keydown', (event) => this.#pressed(event));
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
    history.replaceState(null, '', address('/', this.filters));
    this.#load();
  }

  #readAddress() {
    const parameters = new URLSearchParams(location.search);
    this.find.value = parameters.get('query') ?? '';
    for (const select of this.selects) select.value = parameters.get(select.dataset.filter) ?? '';
    this.#filter();
  }

  #pageAddress(cursor, limit = PAGE) {
    const { query, state, source, sort } = this.filters;
    const isMissing = state === 'missing';
    return address('/v1/videos', { query, source, state: isMissing ? '' : state, missing: isMissing ? true : '', cursor, limit, ...SORTS[sort || 'added'] });
  }

  async #load() {
    const generation = ++this.#generation;
    if (this.#total === null) this.message.textContent = text('library.loading');
    let page;
    try {
      const wanted = this.#pageAddress(null);
      page = (wanted === firstAddress() && (await firstPage)) || (await get(wanted));
      firstPage = null;
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#videos = [];
      this.#total = 0;
      this.#cursor = null;
      this.#measure();
      this.message.replaceChildren(error.message);
      return;
    }
    // A newer search has begun meanwhile.
    if (generation !== this.#generation) return;
    this.#loading = null;
    this.#videos = page.videos;
    this.#total = page.total;
    this.#cursor = page.next_cursor;
    this.#measure();
  }

  // Load the next pages up to a position. The server gives them one after the other.
  async #loadUpTo(index) {
    if (this.#loading || !this.#cursor || index < this.#videos.length) return;
    const generation = this.#generation;
    this.#loading = get(this.#pageAddress(this.#cursor));
    try {
      const page = await this.#loading;
      if (generation !== this.#generation) return;
      this.#videos.push(...page.videos);
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

  // One reading at a time: another one follows it if something has changed meanwhile.
  async #refresh(ids) {
    for (const id of ids) this.#changed.add(id);
    if (this.#refreshing) return;
    this.#refreshing = true;
    try {
      while (this.#changed.size) {
        const next = new Set(this.#changed);
        this.#changed.clear();
        await this.#readAgain(next);
      }
    } finally {
      this.#refreshing = false;
    }
  }

  async #readAgain(ids) {
    // A video that is new or gone changes the order; one that is shown is read again alone.
    const known = new Map(this.#videos.map((video, index) => [video.video_id, index]));
    const changed = [...ids].filter((id) => known.has(id));
    if (changed.length !== ids.size || changed.length > 20) {
      await this.#reload();
      return;
    }
    for (const id of changed) {
      try {
        const video = await get(`/v1/videos/${id}`);
        const index = this.#videos.findIndex((other) => other.video_id === id);
        if (index >= 0) this.#videos[index] = video;
      } catch {
        await this.#reload();
        return;
      }
    }
    this.#draw();
  }

  // Read what is shown again, and keep the place on the page.
  async #reload() {
    const generation = ++this.#generation;
    this.#loading = null;
    const count = Math.max(PAGE, this.#videos.length);
    const videos = [];
    let cursor = null;
    let total = 0;
    try {
      do {
        const page = await get(this.#pageAddress(cursor, Math.min(200, count - videos.length)));
        if (generation !== this.#generation) return;
        videos.push(...page.videos);
        ({ total, next_cursor: cursor } = page);
      } while (cursor && videos.length < count);
    } catch {
      return;
    }
    this.#videos = videos;
    this.#total = total;
    this.#cursor = cursor;
    for (const id of this.#selected) if (!videos.some((video) => video.video_id === id)) this.#selected.delete(id);
    this.#drawBulk();
    this.#measure();
  }

  #refreshStates(jobs) {
    // A job that begins, is paused or ends changes what is said of its video, although nothing new was found.
    const changed = jobs.filter((job) => job.video_id && this.#statuses.get(job.job_id) !== job.status);
    for (const job of changed) this.#statuses.set(job.job_id, job.status);
    if (changed.length) this.#refresh(new Set(changed.map((job) => job.video_id).filter((id) => this.#videos.some((video) => video.video_id === id))));
    const byVideo = new Map(jobs.filter((job) => job.video_id).map((job) => [job.video_id, job]));
    let isChanged = false;
    for (const video of this.#videos) {
      const job = byVideo.get(video.video_id);
      if (!job) continue;
      for (const state of video.sources ?? [])
        if (state.state === 'running' && job.status === 'running') {
          state.fraction = job.fraction;
          state.seconds_left = job.seconds_left;
          isChanged = true;
        }
    }
    if (isChanged) this.#draw();
  }

  #measure() {
    const width = this.grid.clientWidth || this.clientWidth;
    const columns = Math.max(1, Math.floor((width + CARD.gap) / (CARD.minWidth + CARD.gap)));
    const cardWidth = (width - CARD.gap * (columns - 1)) / columns;
    const height = Math.round((cardWidth * 9) / 16) + CARD.textHeight;
    this.#layout = { columns, width: cardWidth, height };
    for (const card of this.#cards.values()) card.isPlaced = false;
    this.#draw();
  }

  #schedule() {
    if (this.isScheduled) return;
    this.isScheduled = true;
    requestAnimationFrame(() => { this.isScheduled = false; this.#draw(); });
  }

  #draw() {
    if (this.#total === null) return;
    const isFiltered = ['query', 'state', 'source'].some((name) => this.filters[name]);
    const isEmpty = !this.#total && !isFiltered;
    this.empty.hidden = !isEmpty;
    this.tools.hidden = isEmpty;
    this.count.textContent = this.#total === 1 ? text('library.count.one') : text('library.count', { count: this.#total.toLocaleString() });
    this.message.replaceChildren();
    if (!this.#total && isFiltered)
      this.message.append(text('library.none'), ' ', element('button', { text: text('library.none.action'), click: () => { history.replaceState(null, '', '/'); this.#readAddress(); } }));
    const { columns, height } = this.#layout;
    const rowHeight = height + CARD.gap;
    const rows = Math.ceil(this.#total / columns);
    const gridHeight = `${Math.max(0, rows * rowHeight - CARD.gap)}px`;
    if (this.grid.style.height !== gridHeight) this.grid.style.height = gridHeight;
    const top = -this.grid.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / rowHeight) - OVERSCAN_ROWS) * columns;
    const last = Math.min(this.#total, (Math.ceil((top + window.innerHeight) / rowHeight) + OVERSCAN_ROWS) * columns);
    const wanted = new Set();
    const free = [];
    for (let index = first; index < last; index++) if (this.#videos[index]) wanted.add(this.#videos[index].video_id);
    for (const [id, card] of this.#cards)
      if (!wanted.has(id)) {
        free.push(card);
        this.#cards.delete(id);
      }
    // The order of the document is that of the list, for the keyboard and for screen readers.
    let next = this.grid.firstElementChild;
    for (let index = first; index < last; index++) {
      const video = this.#videos[index];
      if (!video) continue;
      let card = this.#cards.get(video.video_id);
      if (!card) {
        // Cards that have left the view show other videos: to make one takes longer than to change it.
        card = free.pop() ?? makeCard();
        card.isPlaced = false;
        this.#cards.set(video.video_id, card);
      }
      if (!card.isPlaced || card.index !== index) this.#place(card, index);
      if (card.video !== video || card.key !== stateKey(video)) updateCard(card, video, this.#selected.has(video.video_id));
      while (next && free.some((unused) => unused.item === next)) next = next.nextElementSibling;
      if (card.item === next) next = next.nextElementSibling;
      else this.grid.insertBefore(card.item, next);
    }
    for (const card of free) card.item.remove();
    this.#loadUpTo(last + columns * OVERSCAN_ROWS);
  }

  #place(card, index) {
    const { columns, width, height } = this.#layout;
    const column = index % columns;
    const row = Math.floor(index / columns);
    card.index = index;
    card.isPlaced = true;
    card.item.style.cssText = `width:${width}px;height:${height}px;transform:translate(${column * (width + CARD.gap)}px,${row * (height + CARD.gap)}px)`;
    card.item.setAttribute('aria-posinset', String(index + 1));
    card.item.setAttribute('aria-setsize', String(this.#total));
  }

  #clicked(event) {
    const button = event.target.closest('button[data-action]');
    if (!button) return;
    const video = this.#videos.find((one) => one.video_id === button.closest('[data-video]').dataset.video);
    if (!video) return;
    if (button.dataset.action === 'menu') this.#toggleMenu(button);
    else this.#closeMenus();
    if (button.dataset.action === 'rename') this.#rename(video);
    if (button.dataset.action === 'remove') this.#remove([video]);
    if (button.dataset.action === 'index') this.#index([video]);
  }

  #toggleMenu(button) {
    const menu = button.nextElementSibling;
    const isOpen = !menu.hidden;
    this.#closeMenus();
    menu.hidden = isOpen;
    button.setAttribute('aria-expanded', String(!menu.hidden));
    if (!menu.hidden) menu.querySelector('button').focus();
  }

  // Close what is open, and return the button of it.
  #closeMenus() {
    let button = null;
    for (const menu of this.grid.querySelectorAll('.menu:not([hidden])')) {
      menu.hidden = true;
      button = menu.previousElementSibling;
      button.setAttribute('aria-expanded', 'false');
    }
    return button;
  }

  #pressed(event) {
    if (event.key === 'Escape') this.#closeMenus()?.focus();
  }

  #checked(event) {
    const id = event.target.closest('[data-video]')?.dataset.video;
    if (!id || event.target.type !== 'checkbox') return;
    if (event.target.checked) this.#selected.add(id);
    else this.#selected.delete(id);
    this.#drawBulk();
  }

  #drawBulk() {
    this.bulk.hidden = !this.#selected.size;
    const chosen = () => this.#videos.filter((video) => this.#selected.has(video.video_id));
    this.bulk.replaceChildren(
      element('span', { text: text('library.selected', { count: this.#selected.size }) }),
      element('button', { text: text('library.index'), click: () => this.#index(chosen()) }),
      element('button', { text: text('library.remove'), click: () => this.#remove(chosen()) }),
      element('button', { text: text('library.clear'), click: () => this.#clearSelection() }),
    );
  }

  #clearSelection() {
    this.#selected.clear();
    for (const box of this.grid.querySelectorAll('input[type=checkbox]')) box.checked = false;
    this.#drawBulk();
  }

  async #rename(video) {
    const title = prompt(text('library.rename.prompt', { title: video.title }), video.title);
    if (title === null || title === video.title) return;
    await patch(`/v1/videos/${video.video_id}`, { title }).catch((error) => toast(error.message));
  }

  async #remove(videos) {
    const ids = videos.map((video) => video.video_id);
    let removed = ids;
    try {
      if (ids.length === 1) await remove(`/v1/videos/${ids[0]}`);
      else removed = await bulk('remove', ids);
    } catch (error) {
      toast(error.message);
      return;
    }
    this.#clearSelection();
    if (!removed.length) return;
    const message = removed.length === 1 ? text('library.removed', { title: videos.find((video) => video.video_id === removed[0]).title }) : text('library.removed.many', { count: removed.length });
    toast(message, { label: text('library.undo'), run: () => bulk('undo-removal', removed).catch((error) => toast(error.message)) });
  }

  async #index(videos) {
    const options = await askRunOptions(this.shadowRoot, videos);
    if (!options) return;
    try {
      await bulk('index', videos.map((video) => video.video_id), { options });
      this.#clearSelection();
    } catch (error) {
      toast(error.message);
    }
  }
}

// Do something with several videos; say what of it failed, and return the ids of the others.
async function bulk(action, ids, more = {}) {
  const done = [];
  const errors = [];
  for (let start = 0; start < ids.length; start += MAX_BULK) {
    const { results } = await post('/v1/videos/bulk', { action, video_ids: ids.slice(start, start + MAX_BULK), ...more });
    for (const result of results) (result.error ? errors : done).push(result.error ?? result.video_id);
  }
  if (errors.length) toast(errors.slice(0, 3).join(' '));
  return done;
}

function makeCard() {
  const card = {
    image: element('img', { alt: '', decoding: 'async', hidden: true }),
    length: element('span', { class: 'length' }),
    seen: element('span', { class: 'seen', hidden: true }),
    title: element('a', { class: 'title' }),
    states: element('div', { class: 'states' }),
    box: element('input', { type: 'checkbox' }),
    menuButton: element('button', { class: 'dots', 'data-action': 'menu', 'aria-haspopup': 'true', 'aria-expanded': 'false', text: '⋯' }),
  };
  card.poster = element('a', { class: 'poster', tabindex: '-1', 'aria-hidden': 'true' }, card.image, card.length, card.seen);
  card.image.addEventListener('load', () => { card.image.hidden = false; });
  card.image.addEventListener('error', () => { card.image.hidden = true; });
  const menu = element('div', { class: 'menu', hidden: true }, ['rename', 'index', 'remove'].map((action) => element('button', { 'data-action': action, text: text(`library.${action}`) })));
  card.item = element('div', { class: 'card', role: 'listitem' }, card.poster, card.box, card.menuButton, menu, card.title, card.states);
  card.menu = menu;
  return card;
}

function updateCard(card, video, isSelected) {
  const isSame = card.video?.video_id === video.video_id;
  card.video = video;
  card.key = stateKey(video);
  const link = `/watch?video=${encodeURIComponent(video.video_id)}${video.position_s ? `&t=${video.position_s.toFixed(1)}` : ''}`;
  card.item.dataset.video = video.video_id;
  card.title.href = card.poster.href = link;
  card.title.textContent = video.title;
  card.title.title = video.title;
  card.length.textContent = clock(video.duration_s);
  card.seen.hidden = !video.position_s;
  if (video.position_s) {
    card.seen.style.width = `${Math.min(100, (100 * video.position_s) / video.duration_s)}%`;
    card.seen.title = text('library.position', { time: clock(video.position_s) });
  }
  if (!isSame) {
    card.menu.hidden = true;
    card.image.hidden = true;
    card.image.removeAttribute('src');
    clearTimeout(card.posterTimer);
    if (video.has_pictures && !video.missing) card.posterTimer = setTimeout(() => loadPoster(card, video), POSTER_MS);
    card.poster.classList.toggle('sound', !video.has_pictures);
    card.menuButton.setAttribute('aria-expanded', 'false');
  }
  card.box.setAttribute('aria-label', text('library.select', { title: video.title }));
  card.menuButton.setAttribute('aria-label', text('library.menu', { title: video.title }));
  card.box.checked = isSelected;
  card.states.replaceChildren(...chips(video));
}

function loadPoster(card, video) {
  if (card.video?.video_id !== video.video_id || !card.item.isConnected) return;
  card.image.src = `/v1/videos/${video.video_id}/poster.jpg`;
}

// What the chips of a card depend on.
function stateKey(video) {
  return JSON.stringify([video.title, video.position_s, video.missing, video.sources]);
}

function chips(video) {
  const made = (video.sources ?? []).filter((source) => source.state !== 'none' || video.sources.length < 4).map((source) =>
    element('span', { class: `chip ${source.state}`, title: source.reason || false, text: stateText(source) }));
  if (video.missing) made.push(element('span', { class: 'chip failed', text: text('library.missing') }));
  if (video.damage) made.push(element('span', { class: 'chip outdated', title: video.damage.text, text: text('library.damaged') }));
  return made;
}

function stateText(state) {
  const name = hasText(`source.${state.source}`) ? text(`source.${state.source}`) : state.source.replaceAll('_', ' ');
  const hasLeft = state.state === 'running' && state.seconds_left !== null && state.seconds_left !== undefined;
  const values = { source: state.state === 'none' ? name.toLowerCase() : name, percent: percent(state.fraction), left: hasLeft ? duration(state.seconds_left) : '' };
  return text(hasLeft ? 'state.running.left' : `state.${state.state}`, values);
}

customElements.define('longview-library', Library);
