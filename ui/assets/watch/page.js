// The watch page: the player with its strip, in step with the panels and the chat beside them.
import { patch } from '../api.js';
import { element, shadow } from '../dom.js';
import { listen } from '../events.js';
import { plain } from '../format.js';
import { icon } from '../icons.js';
import { text } from '../strings.js';
import { bindChat } from './chat.js';
import { bindKeys, keysDialog } from './keys.js';
import { loadSprite, Waveform } from './pictures.js';
import './panels.js';
import { placed, showParts } from './place.js';
import { Controls } from './player.js';
import { SelectionBar } from './selection_bar.js';
import { Segments } from './segments.js';
import { session } from './session.js';
import { setParameter } from './view_address.js';

// Who has seen the end begins anew.
const END_S = 3;
// Time between two notes of where the video is while it plays, in seconds.
const NOTE_S = 10;
// Time for which a browser draws at full rate after each event of the player; see idle_frames.js.
const ACTIVE = 'longview-active';

class Watch extends HTMLElement {
  #noted = -1;
  #linesSource = null;

  async connectedCallback() {
    if (this.shadowRoot) return;
    this.root = shadow(this, 'watch/watch.css');
    this.notice = element('div', { class: 'notice-line', hidden: true });
    this.root.append(this.notice);
    await this.#open();
  }

  async #open() {
    let opened;
    try {
      opened = await session();
    } catch (error) {
      this.#say(error.message);
      return;
    }
    if (!opened) {
      this.#showNone({ 'data-kind': 'empty' });
      listen('videos', () => location.reload());
      return;
    }
    this.session = opened;
    // For tests and for scripts of users in the console.
    window.longviewSession = opened;
    const { video, player, strip } = opened;
    this.#build();
    video.addEventListener('video', () => this.#videoChanged());
    video.addEventListener('track', () => this.#linesChanged());
    video.addEventListener('chapters', () => this.#linesChanged());
    video.addEventListener('gone', (event) => this.#gone(event.detail));
    video.addEventListener('failed', (event) => this.#say(event.detail, element('button', { text: text('queue.retry'), click: () => video.load() })));
    for (const name of ['found', 'evidence', 'cuts']) opened.addEventListener(name, () => this.#linesChanged());
    strip.addEventListener('seek', (event) => player.seek(event.detail));
    strip.addEventListener('select', (event) => opened.select(event.detail));
    player.addEventListener('time', (event) => this.#timeChanged(event.detail));
    player.addEventListener('pause', () => this.#note());
    window.addEventListener('pagehide', () => this.#note());
    bindChat(opened);
    setParameter('video', video.id);
    await video.load();
    opened.readCuts();
  }

  #build() {
    const { player, strip } = this.session;
    this.controls = new Controls(player, { toggleFullScreen: () => this.#toggleFullScreen(), chooseLines: (source) => this.#chooseLines(source) });
    this.heading = element('h1', { class: 'video-title' });
    this.facts = element('span', { class: 'facts' });
    this.bar = new SelectionBar(this.session);
    this.zoom = element('div', { class: 'zoom' },
      ['out', 'in', 'whole'].map((name) => element('button', { class: 'small', 'aria-label': text(`watch.zoom.${name}`), title: text(`watch.zoom.${name}`), click: () => (name === 'whole' ? strip.showWhole() : strip.zoom(name === 'in' ? 0.5 : 2)) }, icon({ in: 'zoomIn', out: 'zoomOut', whole: 'whole' }[name]))),
      element('button', { class: 'small', 'aria-label': text('watch.keys'), title: text('watch.keys'), text: '?', click: () => this.help.showModal() }));
    this.help = keysDialog();
    this.workbench = element('div', { class: 'workbench' }, player.element, this.controls.element, strip.element, element('div', { class: 'under' }, this.bar.element, this.zoom));
    this.root.append(element('div', { class: 'heading' }, this.heading, this.facts), this.workbench, this.help);
    bindKeys(this.session, { panels: () => document.querySelector('longview-panels'), toggleFullScreen: () => this.#toggleFullScreen(), help: this.help });
    this.waveform = new Waveform(this.session);
    // The panels end where the queue or the window ends, whatever is above them.
    placed.then(() => {
      // Gradio has set a title of its own.
      this.#setTitle();
      const side = document.getElementById('longview-side');
      const shell = document.getElementById('longview-shell');
      const setEdges = () => {
        side.style.setProperty('--lv-top', `${Math.round(side.parentElement.getBoundingClientRect().top + scrollY)}px`);
        document.body.style.setProperty('--lv-bottom', `${shell.offsetHeight}px`);
      };
      new ResizeObserver(setEdges).observe(shell);
      setEdges();
    });
  }

  #say(message, action = null) {
    this.notice.replaceChildren(...(message ? [element('span', { text: plain(message) }), ...(action ? [' ', action] : [])] : []));
    this.notice.hidden = !message;
  }

  #videoChanged() {
    const { video, player } = this.session;
    const { document: facts } = video;
    this.hidden = false;
    this.none?.remove();
    if (!facts.missing) this.#say('');
    else this.#say(text('watch.missing', { path: facts.path }));
    this.heading.textContent = facts.title;
    this.#setTitle();
    this.facts.textContent = factsText(facts);
    if (!this.isOpened) {
      this.isOpened = true;
      this.session.startS ??= facts.position_s;
      player.load(this.session.startS, { plays: this.#playsAtOnce() });
      this.#selectLinked();
      this.waveform.load();
      if (facts.has_pictures) loadSprite(video.id).then((sprite) => this.session.strip.setSprite(sprite));
    } else if (!player.isPlayable) player.load(player.time);
    this.#linesChanged();
  }

  #setTitle() {
    const { document: facts } = this.session.video;
    if (facts) document.title = text('watch.title', { title: facts.title });
  }

  // A link may name the end of a part, too.
  #selectLinked() {
    const parameters = new URLSearchParams(location.search);
    const end = Number(parameters.get('end'));
    if (Number.isFinite(end) && end > this.session.startS) this.session.select({ start: this.session.startS, end });
  }

  // Who clicks on the card of a moment wants to see it. The note is taken once, so that a reload and a shared link do not play.
  #playsAtOnce() {
    const isNoted = sessionStorage.getItem('longview-plays') === location.search;
    sessionStorage.removeItem('longview-plays');
    return isNoted;
  }

  #linesChanged() {
    const { video, strip } = this.session;
    const lines = video.sources.map((name) => ({ name, segments: video.segments(name) }));
    const chapters = video.chapters?.chapters ?? [];
    if (chapters.length) lines.push({ name: 'chapters', segments: new Segments(chapters.map((chapter) => ({ ...chapter, text: chapter.title }))) });
    for (const name of ['found', 'evidence', 'cuts']) if (this.session[name].length) lines.push({ name, segments: this.session[name] });
    strip.setLines(lines);
    this.#linesSource ??= localStorage.getItem('longview-lines');
    this.controls.offerLines(video.sources, this.#linesSource);
    this.#showLine();
  }

  #chooseLines(source) {
    this.#linesSource = source;
    localStorage.setItem('longview-lines', source);
    this.#showLine();
  }

  #showLine() {
    const { video, player } = this.session;
    const segments = this.#linesSource ? video.segments(this.#linesSource) : null;
    const index = segments?.length ? segments.at(player.time) : -1;
    player.showLine(index < 0 ? '' : segments.rows[index].text.slice(0, 300));
  }

  #timeChanged(isJump) {
    window.dispatchEvent(new Event(ACTIVE));
    const { player, strip } = this.session;
    strip.setTime(player.time, { follows: player.isPlaying || isJump });
    this.#showLine();
    if (isJump || Math.abs(player.time - this.#noted) > NOTE_S) this.#note();
  }

  // Keep where the video is, in the address and in the library.
  #note() {
    const { player, video } = this.session;
    // A tenth of a second behind the beginning of a sentence, so that it is the one that plays.
    const seconds = tenths(player.time);
    if (seconds === this.#noted || !video.document) return;
    const isFirst = this.#noted < 0;
    this.#noted = seconds;
    if (isFirst && seconds === tenths(this.session.startS)) return;
    setParameter('t', String(seconds));
    const position = video.duration - player.time < END_S ? 0 : player.time;
    patch(`/v1/videos/${video.id}`, { position_s: position }).catch(() => {});
  }

  async #toggleFullScreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await this.workbench.requestFullscreen().catch(() => {});
  }

  // Show that there is no such video in place of the player.
  #gone({ isRemoved, reason }) {
    const { video, player } = this.session;
    player.pause();
    this.hidden = true;
    this.#showNone(isRemoved ? { 'data-kind': 'removed', 'data-video': video.id, 'data-reason': reason } : { 'data-kind': 'unknown' });
  }

  #showNone(attributes) {
    this.none?.remove();
    this.none = element('longview-no-video', attributes);
    this.after(this.none);
  }
}

// Return the next tenth of a second.
function tenths(seconds) {
  return Math.ceil(10 * seconds - 1e-6) / 10;
}

function factsText({ facts }) {
  const size = facts?.width && facts?.height ? `${facts.width}×${facts.height}` : '';
  return [size, facts?.codec].filter(Boolean).join(' · ');
}

customElements.define('longview-watch', Watch);
showParts();
