// The strip below the player: what was found at which time, one line a source, with the sound, a zoom and an overview.
import { element } from '../dom.js';
import { text } from '../strings.js';
import { Scale } from './scale.js';
import { clockTime } from './times.js';

const RULER_PX = 18;
const LINE_PX = 20;
const WAVEFORM_PX = 30;
const OVERVIEW_PX = 16;
// Movement of the pointer from which a press is a selection and not a click, in pixels.
const DRAG_PX = 4;
const ZOOM_STEP = 1.25;
// Width from which an event carries its text, in pixels.
const TEXT_PX = 40;
const LINE_NAMES = ['captions', 'speech', 'subtitles', 'screen_text'];

// Emits `seek`, `select` (detail: {start, end}) and `view`.
export class Strip extends EventTarget {
  #scale = new Scale();
  #lines = [];
  #peaks = null;
  #frame = null;
  #time = 0;
  #selection = null;
  #sprite = null;
  #press = null;

  constructor(video) {
    super();
    this.video = video;
    this.names = element('div', { class: 'names', 'aria-hidden': 'true' });
    this.canvas = element('canvas');
    this.playhead = element('div', { class: 'playhead' });
    this.span = element('div', { class: 'span', hidden: true });
    this.picture = element('div', { class: 'picture' });
    this.tipTime = element('b');
    this.tipText = element('p');
    this.tip = element('div', { class: 'tip', hidden: true }, this.picture, this.tipTime, this.tipText);
    this.view = element('div', { class: 'view', tabindex: '0', role: 'slider', 'aria-label': text('watch.strip'), 'aria-valuemin': '0' }, this.canvas, this.span, this.playhead, this.tip);
    this.overview = element('canvas', { class: 'overview', 'aria-hidden': 'true' });
    this.element = element('div', { class: 'strip' }, this.names, this.view, this.overview);
    this.#listen();
    new ResizeObserver(() => this.draw()).observe(this.view);
  }

  #listen() {
    this.view.addEventListener('pointerdown', (event) => this.#pressed(event));
    this.view.addEventListener('pointermove', (event) => this.#moved(event));
    this.view.addEventListener('pointerup', (event) => this.#released(event));
    this.view.addEventListener('pointercancel', () => { this.#press = null; });
    this.view.addEventListener('dblclick', (event) => this.#selectEvent(event));
    this.view.addEventListener('pointerleave', () => { this.tip.hidden = true; });
    this.view.addEventListener('wheel', (event) => this.#wheeled(event), { passive: false });
    const drag = (event) => {
      if (!(event.buttons & 1)) return;
      const seconds = (event.offsetX / this.overview.clientWidth) * this.#scale.duration;
      this.show(seconds - this.#scale.span / 2, seconds + this.#scale.span / 2);
    };
    this.overview.addEventListener('pointerdown', (event) => { this.overview.setPointerCapture(event.pointerId); drag(event); });
    this.overview.addEventListener('pointermove', drag);
  }

  #pressed(event) {
    if (event.button) return;
    this.view.setPointerCapture(event.pointerId);
    this.#press = { x: event.offsetX, time: this.#scale.time(event.offsetX), isDrag: false };
  }

  #moved(event) {
    const x = this.#xOf(event);
    if (this.#press) {
      this.#press.isDrag ||= Math.abs(x - this.#press.x) >= DRAG_PX;
      if (this.#press.isDrag) {
        const time = this.#scale.time(x);
        this.setSelection({ start: Math.min(time, this.#press.time), end: Math.max(time, this.#press.time) });
        this.dispatchEvent(new CustomEvent('select', { detail: this.#selection }));
      }
    }
    if (event.pointerType !== 'touch') this.#showTip(x, this.#lineAt(event));
  }

  #released(event) {
    const press = this.#press;
    this.#press = null;
    if (press && !press.isDrag) this.dispatchEvent(new CustomEvent('seek', { detail: this.#scale.time(this.#xOf(event)) }));
  }

  // Select the event under the pointer.
  #selectEvent(event) {
    const line = this.#lineAt(event);
    const row = line?.segments?.rows[line.segments.at(this.#scale.time(this.#xOf(event)))];
    if (row && row.end_s > row.start_s) this.dispatchEvent(new CustomEvent('select', { detail: { start: row.start_s, end: row.end_s } }));
  }

  #lineAt(event) {
    const y = event.clientY - this.view.getBoundingClientRect().top;
    return this.#rows().rows.find(({ top, height }) => y >= top && y < top + height);
  }

  #xOf(event) {
    return event.clientX - this.view.getBoundingClientRect().left;
  }

  #wheeled(event) {
    event.preventDefault();
    const isSideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
    if (isSideways) this.#scale.pan(((event.deltaX || event.deltaY) / this.#scale.width) * this.#scale.span);
    else this.#scale.zoom(ZOOM_STEP ** Math.sign(event.deltaY), this.#scale.time(this.#xOf(event)));
    this.draw();
  }

  // Show a part of the video, in seconds.
  show(from, to) {
    this.#scale.show(from, to);
    this.draw();
  }

  zoom(factor) {
    this.#scale.zoom(factor, Math.min(this.#scale.to, Math.max(this.#scale.from, this.#time)));
    this.draw();
  }

  showWhole() {
    this.show(0, this.#scale.duration);
  }

  // The part that is shown, in seconds.
  get part() {
    return { from: this.#scale.from, to: this.#scale.to };
  }

  // Return the place of a time, in pixels from the left side of the view.
  x(seconds) {
    return this.#scale.x(seconds);
  }

  setTime(seconds, { follows = false } = {}) {
    this.#time = seconds;
    const { duration } = this.#scale;
    this.view.setAttribute('aria-valuemax', duration.toFixed(1));
    this.view.setAttribute('aria-valuenow', seconds.toFixed(1));
    this.view.setAttribute('aria-valuetext', clockTime(seconds));
    if (follows && !this.#scale.isWhole && this.#scale.follow(seconds)) this.draw();
    this.#placeOverlays();
  }

  setSelection(span) {
    this.#selection = span;
    this.#placeOverlays();
  }

  setPeaks(peaks, peaksPerSecond) {
    this.#peaks = peaks && { values: peaks, rate: peaksPerSecond };
    this.draw();
  }

  setSprite(sprite) {
    this.#sprite = sprite;
  }

  // Set the lines: {name, segments, label}. Marks of answers and of what was found are lines, too.
  setLines(lines) {
    this.#lines = lines;
    if (this.video.duration !== this.#scale.duration && this.video.duration) this.#scale.reset(this.video.duration);
    this.draw();
  }

  draw() {
    this.#frame ??= requestAnimationFrame(() => { this.#frame = null; this.#paint(); });
  }

  #rows() {
    const rows = [];
    let top = RULER_PX;
    if (this.#peaks) {
      rows.push({ name: 'sound', top, height: WAVEFORM_PX });
      top += WAVEFORM_PX + 2;
    }
    for (const line of this.#lines) {
      rows.push({ ...line, top, height: LINE_PX - 2 });
      top += LINE_PX;
    }
    return { rows, height: top + 2 };
  }

  #paint() {
    const width = this.view.clientWidth;
    if (!width) return;
    this.#scale.width = width;
    const { rows, height } = this.#rows();
    this.view.style.height = `${height}px`;
    this.#nameRows(rows);
    const style = getComputedStyle(this.element);
    const color = (name) => style.getPropertyValue(`--lv-${name}`).trim();
    const context = prepared(this.canvas, width, height);
    this.#paintRuler(context, color('muted'));
    for (const row of rows)
      if (row.name === 'sound') this.#paintSound(context, row, color('line-sound'));
      else this.#paintLine(context, row, color(`line-${row.name}`) || color('accent'), color('on-line'));
    this.#paintOverview(width, color);
    this.#placeOverlays();
    this.dispatchEvent(new Event('view'));
  }

  #nameRows(rows) {
    const key = rows.map((row) => `${row.name} ${row.top}`).join();
    if (this.names.dataset.key === key) return;
    this.names.dataset.key = key;
    this.names.replaceChildren(...rows.map((row) => element('span', { style: `top:${row.top}px;height:${row.height}px`, text: text(`watch.line.${row.name}`) })));
  }

  #paintRuler(context, ink) {
    const { step, times } = this.#scale.ticks();
    context.fillStyle = ink;
    context.font = '11px system-ui, sans-serif';
    context.textBaseline = 'top';
    for (const time of times) {
      const x = Math.round(this.#scale.x(time));
      context.fillRect(x, 0, 1, 6);
      context.fillText(clockTime(time, { hasTenths: step < 1 }), x + 4, 1);
    }
  }

  #paintSound(context, { top, height }, ink) {
    const { values, rate } = this.#peaks;
    const middle = top + height / 2;
    const perPixel = (this.#scale.span / this.#scale.width) * rate;
    context.fillStyle = ink;
    for (let x = 0; x < this.#scale.width; x++) {
      const from = Math.floor((this.#scale.from * rate) + x * perPixel);
      const to = Math.max(from + 1, Math.floor(this.#scale.from * rate + (x + 1) * perPixel));
      let peak = 0;
      for (let index = from; index < to && index < values.length; index++) if (values[index] > peak) peak = values[index];
      const half = Math.max(0.5, (peak / 255) * (height / 2));
      context.fillRect(x, middle - half, 1, 2 * half);
    }
  }

  #paintLine(context, { segments, top, height }, ink, onInk) {
    const { from, to, width } = this.#scale;
    context.font = '11px system-ui, sans-serif';
    context.textBaseline = 'middle';
    let drawnTo = -1;
    const last = segments.countBefore(to);
    for (let index = segments.firstOverlapping(from); index < last; index++) {
      const left = Math.max(-1, Math.round(this.#scale.x(segments.starts[index])));
      const right = Math.min(width + 1, Math.max(left + 1, Math.round(this.#scale.x(segments.ends[index]))));
      // Many events share a pixel when a long video is shown whole.
      if (right <= drawnTo || right < 0) continue;
      const start = Math.max(left, drawnTo);
      drawnTo = right;
      // A gap of a pixel separates neighbours where there is room for it.
      const gap = right - left > 3 ? 1 : 0;
      context.fillStyle = ink;
      context.fillRect(start, top, Math.max(1, right - start - gap), height);
      if (right - left < TEXT_PX) continue;
      context.save();
      context.beginPath();
      context.rect(start, top, right - start - gap - 2, height);
      context.clip();
      context.fillStyle = onInk;
      context.fillText(segments.rows[index].text.slice(0, 200), Math.max(start, 0) + 4, top + height / 2);
      context.restore();
    }
  }

  #paintOverview(width, color) {
    const context = prepared(this.overview, width, OVERVIEW_PX);
    const x = (seconds) => (seconds / this.#scale.duration) * width;
    context.fillStyle = color('soft');
    context.fillRect(0, 0, width, OVERVIEW_PX);
    for (const { name, segments } of this.#lines.filter((line) => !LINE_NAMES.includes(line.name) && line.name !== 'chapters')) {
      context.fillStyle = color(`line-${name}`);
      for (const start of segments.starts) context.fillRect(x(start), 3, 2, OVERVIEW_PX - 6);
    }
    context.strokeStyle = color('accent');
    context.lineWidth = 2;
    context.strokeRect(x(this.#scale.from) + 1, 1, Math.max(4, x(this.#scale.span) - 2), OVERVIEW_PX - 2);
  }

  #placeOverlays() {
    const x = this.#scale.x(this.#time);
    this.playhead.style.transform = `translateX(${x}px)`;
    this.playhead.hidden = x < 0 || x > this.#scale.width;
    this.span.hidden = !this.#selection;
    if (!this.#selection) return;
    const left = Math.max(0, this.#scale.x(this.#selection.start));
    const right = Math.min(this.#scale.width, this.#scale.x(this.#selection.end));
    this.span.hidden = right < 0 || left > this.#scale.width;
    this.span.style.left = `${left}px`;
    this.span.style.width = `${Math.max(2, right - left)}px`;
  }

  #showTip(x, pointed) {
    const time = this.#scale.time(x);
    this.tip.hidden = false;
    this.tipTime.textContent = clockTime(time);
    const line = [pointed, ...this.#lines].find((each) => each?.segments && each.segments.at(time) >= 0);
    this.tipText.textContent = line ? line.segments.rows[line.segments.at(time)].text.slice(0, 160) : '';
    this.picture.hidden = !this.#sprite;
    if (this.#sprite) {
      const { times_s: times, columns, width, height, address } = this.#sprite;
      let index = times.findLastIndex((start) => start <= time);
      index = Math.max(0, index);
      this.picture.style.width = `${width}px`;
      this.picture.style.height = `${height}px`;
      this.picture.style.backgroundImage = `url("${address}")`;
      this.picture.style.backgroundPosition = `${-(index % columns) * width}px ${-Math.floor(index / columns) * height}px`;
    }
    const { offsetWidth } = this.tip;
    this.tip.style.left = `${Math.min(Math.max(0, x - offsetWidth / 2), Math.max(0, this.#scale.width - offsetWidth))}px`;
  }
}

// Give a canvas the pixels of the screen, clear it, and return its context in CSS pixels.
function prepared(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
