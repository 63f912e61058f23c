// The picture and the sound of a video. Where it has no file that the browser plays, it shows pictures at the chosen time.
import { get } from '../api.js';
import { element } from '../dom.js';
import { listen } from '../events.js';
import { duration, percent, plain } from '../format.js';
import { icon, setIcon } from '../icons.js';
import { text } from '../strings.js';
import { clockTime } from './times.js';

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2, 3];
// Rates of the shuttle, which J makes slower or backwards and L faster.
const SHUTTLE = [-8, -4, -2, -1, 0, 1, 2, 4, 8];
const REVERSE_MS = 125;
const DEFAULT_FPS = 25;

// Emits `time` (detail: whether it jumped), `play`, `pause` and `ready`.
export class Player extends EventTarget {
  #stillTime = 0;
  #until = null;
  #loop = null;
  #reverse = null;
  #media = '';
  // Whether the browser has failed to play what was loaded.
  #hasFailed = false;
  // Whether somebody wanted to play before it was known what there is to play.
  #playsOnceLoaded = false;
  #frame = null;

  constructor(video) {
    super();
    this.video = video;
    this.media = element('video', { preload: 'metadata', playsinline: true, 'aria-label': text('watch.player'), hidden: true });
    this.still = element('img', { class: 'still', alt: '', hidden: true });
    this.message = element('div', { class: 'over-message', role: 'status', hidden: true });
    this.lines = element('div', { class: 'over-lines', 'aria-hidden': 'true' });
    this.element = element('div', { class: 'stage' }, this.media, this.still, this.lines, this.message);
    this.media.addEventListener('click', () => this.toggle());
    for (const name of ['play', 'pause', 'volumechange', 'ratechange']) this.media.addEventListener(name, () => this.dispatchEvent(new Event(name === 'play' ? 'play' : 'pause')));
    this.media.addEventListener('play', () => this.#watchFrames());
    this.media.addEventListener('timeupdate', () => this.#told(false));
    this.media.addEventListener('seeked', () => this.#told(true));
    this.media.addEventListener('loadedmetadata', () => this.#told(true));
    this.media.addEventListener('error', () => this.#unplayable());
    listen('jobs', ({ preparations }) => this.#prepared(preparations ?? []));
  }

  get time() {
    return this.isPlayable ? this.media.currentTime : this.#stillTime;
  }

  get isPlayable() {
    return !this.media.hidden;
  }

  get isPlaying() {
    return this.isPlayable && !this.media.paused;
  }

  // Load what the server has of the video to play, and begin at a time.
  async load(seconds, { plays = false } = {}) {
    this.#stillTime = seconds;
    let state;
    try {
      state = await get(`/v1/videos/${this.video.id}/media`);
    } catch (error) {
      this.#say(error.message);
      return;
    }
    this.state = state;
    const playsNow = plays || this.#playsOnceLoaded;
    // What becomes playable minutes later does not begin by itself.
    this.#playsOnceLoaded = false;
    this.element.classList.toggle('sound', !state.has_pictures);
    const address = `/media/${this.video.id}`;
    if (state.state === 'ready' && !this.#hasFailed) {
      this.#say('');
      this.still.hidden = true;
      this.media.hidden = false;
      if (this.#media !== address) {
        this.#media = address;
        // Somebody may have gone to another time meanwhile.
        this.media.src = `${address}#t=${this.#stillTime.toFixed(3)}`;
      }
      if (playsNow) this.play();
      this.dispatchEvent(new Event('ready'));
      return;
    }
    this.media.hidden = true;
    this.#say(this.#hasFailed ? text('watch.unplayable') : state.reason || text('watch.preparing'));
    this.seek(this.#stillTime);
  }

  #prepared(preparations) {
    const own = preparations.find((item) => item.video_id === this.video.id);
    if (!own || this.isPlayable || this.state?.state !== 'preparing') return;
    if (own.reason !== null) this.#say(own.reason);
    else this.#say(text('watch.preparing.left', { percent: percent(own.fraction), left: own.seconds_left === null ? '' : text('upload.remaining', { left: duration(own.seconds_left) }) }));
  }

  #unplayable() {
    if (!this.#media) return;
    this.#hasFailed = true;
    const time = this.media.currentTime || this.#stillTime;
    this.media.hidden = true;
    this.#say(text('watch.unplayable'));
    this.seek(time);
  }

  #say(message) {
    this.message.textContent = plain(message);
    this.message.hidden = !message;
  }

  seek(seconds, { plays = false } = {}) {
    const time = Math.min(Math.max(0, seconds), this.video.duration || Infinity);
    this.#until = null;
    this.#stopReverse();
    if (this.isPlayable) {
      this.media.currentTime = time;
      if (plays) this.play();
      return;
    }
    this.#stillTime = time;
    this.#playsOnceLoaded ||= plays && !this.state;
    if (this.state?.has_pictures) {
      this.still.hidden = false;
      this.still.src = `/thumbnail/${this.video.id}/${Math.round(time * 1000)}.jpg`;
    }
    this.#told(true);
  }

  play() {
    this.media.play().catch(() => {});
  }

  pause() {
    this.#playsOnceLoaded = false;
    this.#stopReverse();
    this.media.pause();
    this.media.playbackRate = this.speed;
  }

  toggle() {
    if (!this.isPlayable) return;
    if (this.isPlaying || this.#reverse) this.pause();
    else this.play();
  }

  // Play just a part, and stop at its end, or begin it again.
  playPart({ start, end }, { loops = false } = {}) {
    this.seek(start, { plays: true });
    this.#until = { start, end, loops };
    this.#watchFrames();
  }

  get speed() {
    return this.#speed;
  }

  #speed = 1;

  setSpeed(value) {
    this.#speed = value;
    this.media.playbackRate = value;
  }

  // Shuttle as editors do: faster, slower or backwards by one step.
  shuttle(direction) {
    if (!this.isPlayable) return;
    const rate = this.#reverse ? -this.#reverse.rate : this.isPlaying ? this.media.playbackRate : 0;
    const nearest = SHUTTLE.reduce((best, value, index) => (Math.abs(value - rate) < Math.abs(SHUTTLE[best] - rate) ? index : best), 0);
    const next = SHUTTLE[Math.min(SHUTTLE.length - 1, Math.max(0, nearest + direction))];
    this.#stopReverse();
    if (next > 0) {
      this.media.playbackRate = next;
      this.play();
    } else {
      this.media.pause();
      if (next < 0) this.#playBackwards(-next);
    }
  }

  #playBackwards(rate) {
    this.#reverse = { rate, timer: setInterval(() => {
      if (this.media.seeking) return;
      const time = this.media.currentTime - (rate * REVERSE_MS) / 1000;
      this.media.currentTime = Math.max(0, time);
      if (time <= 0) this.#stopReverse();
    }, REVERSE_MS) };
  }

  #stopReverse() {
    clearInterval(this.#reverse?.timer);
    this.#reverse = null;
  }

  // Go to the next frame, or to the previous one. The rate of a file of variable rate is its average.
  step(direction) {
    const fps = this.video.document?.facts?.fps || DEFAULT_FPS;
    this.pause();
    this.seek((Math.floor(this.time * fps + 0.01) + direction) / fps + 0.001);
  }

  // The events of a browser come four times a second, which is too late for the end of a part.
  #watchFrames() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      const part = this.#until;
      if (part && !this.media.seeking && this.media.currentTime >= part.end - 0.01) {
        if (part.loops) this.media.currentTime = part.start;
        else {
          this.#until = null;
          this.media.pause();
        }
      }
      if (!this.isPlaying) return;
      this.#told(false);
      this.#watchFrames();
    });
  }

  #told(isJump) {
    this.dispatchEvent(new CustomEvent('time', { detail: isJump }));
  }

  // Draw a text over the picture.
  showLine(line) {
    if (this.lines.textContent === line) return;
    this.lines.textContent = line;
    this.lines.hidden = !line;
  }

  async togglePictureInPicture() {
    if (document.pictureInPictureElement) await document.exitPictureInPicture();
    else if (this.isPlayable) await this.media.requestPictureInPicture();
  }
}

// The buttons below the picture.
export class Controls {
  constructor(player, { toggleFullScreen, sources, chooseLines }) {
    this.player = player;
    const button = (name, label, click, attributes = {}) => element('button', { 'aria-label': text(label), title: text(label), click, ...attributes }, icon(name));
    this.button = button('play', 'watch.play', () => player.toggle(), { class: 'play' });
    this.clock = element('output', { class: 'clock' });
    this.frames = [
      button('frameBack', 'watch.frame.back', () => player.step(-1), { class: 'frame' }),
      button('frameForward', 'watch.frame.forward', () => player.step(1), { class: 'frame' }),
    ];
    this.speed = element('select', { 'aria-label': text('watch.speed'), change: () => player.setSpeed(Number(this.speed.value)) },
      SPEEDS.map((value) => element('option', { value, text: `${value}×`, selected: value === 1 })));
    this.volume = element('input', { type: 'range', min: '0', max: '1', step: '0.05', value: '1', 'aria-label': text('watch.volume'), input: () => { player.media.volume = Number(this.volume.value); player.media.muted = false; } });
    this.lines = element('select', { 'aria-label': text('watch.lines'), change: () => chooseLines(this.lines.value) });
    this.sources = sources;
    this.pip = button('inPicture', 'watch.pip', () => player.togglePictureInPicture().catch(() => {}));
    const full = button('full', 'watch.full', toggleFullScreen, { class: 'full' });
    this.element = element('div', { class: 'controls', role: 'toolbar', 'aria-label': text('watch.controls') },
      this.button, ...this.frames, this.clock, icon('volume'), this.volume, this.speed, this.lines, this.pip, full);
    for (const name of ['play', 'pause', 'time', 'ready']) player.addEventListener(name, () => this.update());
    this.update();
  }

  update() {
    const { player } = this;
    // What has sound only has no frames.
    const hasFrames = player.state?.has_pictures !== false;
    for (const button of this.frames) button.hidden = !hasFrames;
    this.pip.hidden = !hasFrames || !document.pictureInPictureEnabled;
    const isPlaying = player.isPlaying;
    if (isPlaying !== this.wasPlaying) {
      this.wasPlaying = isPlaying;
      setIcon(this.button, isPlaying ? 'pause' : 'play');
      for (const name of ['aria-label', 'title']) this.button.setAttribute(name, text(isPlaying ? 'watch.pause' : 'watch.play'));
    }
    const shown = `${clockTime(player.time)} / ${clockTime(player.video.duration, { hasTenths: false })}`;
    if (this.clock.textContent !== shown) this.clock.textContent = shown;
    this.volume.value = player.media.muted ? 0 : player.media.volume;
  }

  // Offer the sources whose text can be drawn over the picture.
  offerLines(sources, chosen) {
    this.lines.replaceChildren(element('option', { value: '', text: text('watch.lines.none') }), ...sources.map((source) => element('option', { value: source, text: text(`source.${source}`), selected: source === chosen })));
    this.lines.hidden = !sources.length;
  }
}
