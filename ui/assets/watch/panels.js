// The panels beside the player: what was found by source, the chapters, and the place of the chat.
import { element, shadow } from '../dom.js';
import { icon } from '../icons.js';
import { hasText, text } from '../strings.js';
import { fold } from './folding.js';
import { ExportMenu } from './export_menu.js';
import { placed } from './place.js';
import { RowList } from './rows.js';
import { MAX_CHARACTERS, textNodes } from './row_text.js';
import { selectedSpan } from './selected_text.js';
import { session } from './session.js';
import { sourceName, stateView } from './source_view.js';
import { clockTime } from './times.js';
import { setParameter } from './view_address.js';

const TYPING_MS = 120;
// Time for which the list rests until the words of its rows are read, in milliseconds.
const REST_MS = 150;
// Estimated size of a row: its padding and the height of a line, and the width of a character and of the time, in pixels.
const ROW_PX = 13;
const LINE_PX = 22;
const CHARACTER_PX = 7.4;
const TIME_PX = 108;
const WORDS = ['speech', 'subtitles'];

// Let the first rows that are as they were before keep the words that were read of them; return their number.
function keepWords(before, rows) {
  let number = 0;
  for (; number < Math.min(before.length, rows.length); number++) {
    const [old, row] = [before[number], rows[number]];
    if (old.start_s !== row.start_s || old.end_s !== row.end_s || old.text !== row.text) break;
    Object.assign(row, { words: old.words, hasAskedWords: old.hasAskedWords });
  }
  return number;
}

class Panels extends HTMLElement {
  #tab = '';
  #source = '';
  #rows = [];
  #segments = null;
  // What the rows were made of.
  #contents = null;
  #query = '';
  #hits = [];
  #hit = -1;
  #now = -1;
  #folded = new WeakMap();
  #key = '';

  async connectedCallback() {
    if (this.shadowRoot) return;
    const root = shadow(this, 'watch/watch.css');
    this.session = await session();
    if (!this.session) return;
    this.#build(root);
    const { video, player } = this.session;
    video.addEventListener('video', () => this.#update());
    video.addEventListener('track', () => this.#update());
    video.addEventListener('chapters', () => this.#update());
    video.addEventListener('words', (event) => { if (event.detail === this.#source) this.#fillWords(); });
    player.addEventListener('time', (event) => this.#follow(event.detail));
    this.session.addEventListener('tab', ({ detail: { name, source } }) => { this.#wantedSource = source; this.#open(name); });
    this.session.addEventListener('find', () => { this.#openFindable(); this.find.focus(); this.find.select(); });
    window.addEventListener('popstate', () => this.#readAddress());
    this.#readAddress();
    this.#update();
    placed.then(() => this.#update());
  }

  #readAddress() {
    const parameters = new URLSearchParams(location.search);
    this.find.value = parameters.get('find') ?? '';
    this.#wanted = parameters.get('tab') ?? '';
    if (this.#wanted) this.#tab = '';
    this.#update();
    this.#search();
  }

  #wanted = '';
  // The source to show as soon as it has rows.
  #wantedSource = '';

  #build(root) {
    this.tabs = element('div', { class: 'tabs', role: 'tablist', 'aria-label': text('watch.panels') });
    this.find = element('input', { type: 'search', placeholder: text('watch.find'), 'aria-label': text('watch.find'), input: () => this.#typed(), keydown: (event) => this.#findKey(event) });
    this.count = element('output', { class: 'hits', role: 'status' });
    const step = (direction, label, name) => element('button', { class: 'small', 'aria-label': text(label), title: text(label), click: () => this.#step(direction) }, icon(name));
    this.steps = [step(-1, 'watch.find.previous', 'up'), step(1, 'watch.find.next', 'down')];
    this.choice = element('select', { 'aria-label': text('watch.source'), hidden: true, change: () => { this.#source = this.choice.value; this.#update(); } });
    this.menu = new ExportMenu(this.session);
    this.tools = element('div', { class: 'finder' }, this.find, this.count, ...this.steps, this.choice, this.menu.element);
    this.state = element('div', { class: 'source-state' });
    this.list = new RowList({ make: () => this.#makeRow(), fill: (row, index) => this.#fillRow(row, index), estimate: (index, width) => this.#estimate(index, width), label: text('watch.rows'), scrolled: () => this.#showBack() });
    this.back = element('button', { class: 'back', text: text('watch.follow'), hidden: true, click: () => this.#followAgain() });
    this.panel = element('div', { class: 'panel', role: 'tabpanel' }, this.tools, this.state, this.list.element, this.back);
    root.append(this.tabs, this.panel);
    this.list.element.addEventListener('click', (event) => this.#clicked(event));
    this.list.element.addEventListener('pointerup', () => this.#textSelected());
  }

  // The panels that this video has.
  #names() {
    const { video } = this.session;
    const states = (video.document?.sources ?? []).map((state) => state.source);
    const words = WORDS.some((source) => states.includes(source)) ? ['transcript'] : [];
    const captions = states.filter((source) => source === 'captions');
    const others = states.filter((source) => source !== 'captions' && !WORDS.includes(source));
    return [...captions, ...words, ...others, 'chapters', 'chat'];
  }

  #sourcesOf(tab) {
    const { video } = this.session;
    const names = tab === 'transcript' ? this.#words() : [tab];
    return names.filter((source) => video.state(source) || video.track(source));
  }

  // Subtitles in the spoken language were written or corrected by a person.
  #words() {
    const [speech, subtitles] = WORDS.map((source) => this.session.video.track(source));
    return subtitles?.segments && subtitles.languages.includes(speech?.languages[0]) ? WORDS.toReversed() : WORDS;
  }

  #update() {
    const { video } = this.session;
    if (!video.document) return;
    const names = this.#names();
    if (!names.includes(this.#tab)) this.#tab = names.includes(this.#wanted) ? this.#wanted : this.#firstTab(names);
    this.#drawTabs(names);
    const side = document.getElementById('longview-side');
    if (side) side.dataset.tab = this.#tab;
    const isChat = this.#tab === 'chat';
    this.panel.hidden = isChat;
    if (isChat) return;
    const sources = this.#tab === 'chapters' ? [] : this.#sourcesOf(this.#tab);
    if (sources.includes(this.#wantedSource) && video.track(this.#wantedSource)?.segments) {
      this.#source = this.#wantedSource;
      this.#wantedSource = '';
    }
    if (!sources.includes(this.#source)) this.#source = sources.find((source) => video.track(source)?.segments) ?? sources[0] ?? '';
    this.choice.hidden = sources.length < 2;
    this.choice.replaceChildren(...sources.map((source) => element('option', { value: source, text: sourceName(source), selected: source === this.#source })));
    this.state.replaceChildren(...(this.#source ? stateView(this.session, this.#source) : []));
    this.menu.update(this.#source);
    this.#drawRows();
  }

  #firstTab(names) {
    const { video } = this.session;
    return names.find((name) => this.#sourcesOf(name).some((source) => video.track(source)?.segments)) ?? names[0];
  }

  #drawTabs(names) {
    const key = `${names} ${this.#tab}`;
    if (this.tabs.dataset.key === key) return;
    this.tabs.dataset.key = key;
    const hasFocus = this.tabs.contains(this.shadowRoot.activeElement);
    this.tabs.replaceChildren(...names.map((name) => element('button', {
      role: 'tab', 'data-tab': name, 'aria-selected': String(name === this.#tab), tabindex: name === this.#tab ? '0' : '-1',
      text: hasText(`watch.tab.${name}`) ? text(`watch.tab.${name}`) : sourceName(name),
      click: () => this.#open(name), keydown: (event) => this.#tabKey(event, names),
    })));
    const chosen = this.tabs.querySelector('[aria-selected=true]');
    if (hasFocus) chosen.focus();
    // On a phone the tabs are wider than the page.
    this.tabs.scrollLeft = chosen.offsetLeft - this.tabs.offsetLeft;
  }

  #tabKey(event, names) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.stopPropagation();
    this.#open(names[(names.indexOf(this.#tab) + step + names.length) % names.length]);
  }

  #open(name) {
    if (name === this.#tab) return;
    this.#tab = name;
    setParameter('tab', name);
    this.#key = '';
    this.#update();
    this.#search();
    // On a phone, the box for questions is below the visible part of the page.
    if (name === 'chat') document.getElementById('longview-question')?.scrollIntoView({ block: 'nearest' });
  }

  #openFindable() {
    if (this.#tab === 'chat') this.#open(this.#firstTab(this.#names()));
  }

  #drawRows() {
    const { video } = this.session;
    const isChapters = this.#tab === 'chapters';
    const contents = isChapters ? video.chapters : video.segments(this.#source);
    const rows = isChapters ? (contents?.chapters ?? []).map((chapter) => ({ ...chapter, text: chapter.title })) : contents.rows;
    const key = `${this.#tab} ${this.#source} ${video.shownVersion(this.#source)}`;
    const isSame = key === this.#key;
    this.#key = key;
    if (isChapters && !rows.length) this.state.replaceChildren(text('watch.chapters.none'));
    // Rows that are made anew lose the text that is selected in them.
    if (isSame && contents === this.#contents) return;
    const kept = isSame ? keepWords(this.#rows, rows) : 0;
    this.#contents = contents;
    this.#segments = isChapters ? null : contents;
    this.#rows = rows;
    if (!isSame) {
      this.#now = -1;
      this.list.followAgain();
    }
    this.list.setCount(rows.length, { keepsPlace: isSame, kept });
    this.list.element.hidden = !rows.length;
    this.#search({ keepsHit: isSame });
    this.#follow(!isSame);
  }

  #makeRow() {
    return element('div', { role: 'listitem', class: 'row' }, element('button', { class: 'time' }), element('div', { class: 'text' }));
  }

  #fillRow(row, index) {
    const item = this.#rows[index];
    row.className = `row${index === this.#now ? ' now' : ''}${index === this.#hits[this.#hit] ? ' hit' : ''}`;
    row.firstChild.textContent = clockTime(item.start_s);
    row.lastChild.replaceChildren(...textNodes(item, this.#query));
    if (WORDS.includes(this.#source) && !item.hasAskedWords) this.#needWords();
  }

  #needWords() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.session.video.readWords(this.#source, this.list.indices), REST_MS);
  }

  #fillWords() {
    this.list.refill((index) => this.#rows[index].words.length && !this.list.row(index).querySelector('.word'));
  }

  #estimate(index, width) {
    const characters = Math.max(12, (width - TIME_PX) / CHARACTER_PX);
    return ROW_PX + LINE_PX * Math.max(1, Math.ceil(Math.min(this.#rows[index].text.length, MAX_CHARACTERS) / characters));
  }

  // Keep the row that plays in view, unless a person has scrolled to another place.
  #follow(isJump) {
    const now = this.#indexAt(this.session.player.time);
    if (now === this.#now && !isJump) return;
    this.list.row(this.#now)?.classList.remove('now');
    this.#now = now;
    if (now < 0) return;
    if (!this.list.isRead) {
      this.list.show(now);
      this.back.hidden = true;
    }
    this.list.row(now)?.classList.add('now');
  }

  #indexAt(seconds) {
    if (this.#segments) return this.#segments.near(seconds);
    return this.#rows.findLastIndex((row) => row.start_s <= seconds);
  }

  #showBack() {
    this.back.hidden = this.#now < 0 || !this.list.isRead || this.list.isInView(this.#now);
  }

  #followAgain() {
    this.list.followAgain();
    this.back.hidden = true;
    this.list.show(this.#now);
  }

  #clicked(event) {
    const row = event.target.closest('.row');
    if (!row || selectedSpan(this.shadowRoot, this.#rows)) return;
    const word = event.target.closest('.word');
    const item = this.#rows[row.dataset.index];
    this.list.followAgain();
    this.session.player.seek(word ? Number(word.dataset.start) : item.start_s, { plays: true });
  }

  #textSelected() {
    // The selection is there after this event.
    setTimeout(() => {
      const selected = selectedSpan(this.shadowRoot, this.#rows);
      if (selected) this.session.select(selected, selected.text);
    });
  }

  #typed() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => {
      setParameter('find', this.find.value.trim(), { replaces: true });
      this.#search();
    }, TYPING_MS);
  }

  // Find the rows with the text of the field, and go to the first one from the player's time on.
  #search({ keepsHit = false } = {}) {
    const query = fold(this.find.value.trim());
    const before = this.#hits[this.#hit];
    const hasMarks = Boolean(query || this.#query);
    this.#query = query;
    this.#hits = [];
    if (query) this.#rows.forEach((row, index) => { if (this.#foldedText(row).includes(query)) this.#hits.push(index); });
    if (keepsHit && this.#hits.includes(before)) this.#hit = this.#hits.indexOf(before);
    else {
      const time = this.session.player.time;
      this.#hit = this.#hits.length ? Math.max(0, this.#hits.findIndex((index) => this.#rows[index].end_s >= time)) : -1;
      if (this.#hit >= 0) this.list.show(this.#hits[this.#hit]);
    }
    this.#showHits({ hasMarks });
    this.session.setFound(this.#hits.map((index) => this.#rows[index]));
  }

  #foldedText(row) {
    if (!this.#folded.has(row)) this.#folded.set(row, fold(row.text));
    return this.#folded.get(row);
  }

  #showHits({ hasMarks = true } = {}) {
    const count = this.#hits.length;
    this.count.textContent = this.#query ? (count ? text('watch.find.count', { number: this.#hit + 1, count: count.toLocaleString() }) : text('watch.find.none')) : '';
    for (const button of this.steps) button.hidden = count < 1;
    if (hasMarks) this.list.refill();
  }

  #step(direction) {
    if (!this.#hits.length) return;
    this.#hit = (this.#hit + direction + this.#hits.length) % this.#hits.length;
    const row = this.#rows[this.#hits[this.#hit]];
    this.list.followAgain();
    this.session.player.seek(row.start_s);
    this.list.show(this.#hits[this.#hit]);
    this.#showHits();
  }

  #findKey(event) {
    if (event.key === 'Enter') {
      event.preventDefault();
      this.#step(event.shiftKey ? -1 : 1);
    } else if (event.key === 'Escape') {
      this.find.value = '';
      this.#typed();
      this.list.element.focus();
    }
  }

  // Return the time of the next row, or of the previous one, of the panel; null if there is none.
  nextTime(seconds, direction) {
    if (this.#segments) return this.#segments.nextStart(seconds, direction);
    const starts = this.#rows.map((row) => row.start_s);
    return (direction > 0 ? starts.find((start) => start > seconds + 0.05) : starts.findLast((start) => start < seconds - 0.05)) ?? null;
  }
}

customElements.define('longview-panels', Panels);
