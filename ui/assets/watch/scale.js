// The part of a video that a strip shows, and its times in pixels.

// The shortest part that is shown, in seconds.
export const MIN_SPAN_S = 1;
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600];
// The smallest distance of two labels, in pixels.
const LABEL_PX = 72;

export class Scale {
  constructor(duration = 1) {
    this.width = 1;
    this.reset(duration);
  }

  reset(duration) {
    this.duration = Math.max(duration, 0.01);
    this.from = 0;
    this.to = this.duration;
  }

  get span() {
    return this.to - this.from;
  }

  get isWhole() {
    return this.span >= this.duration - 1e-9;
  }

  x(seconds) {
    return ((seconds - this.from) / this.span) * this.width;
  }

  time(x) {
    return Math.min(this.duration, Math.max(0, this.from + (x / this.width) * this.span));
  }

  // Show a part; one that does not fit into the video is moved or made shorter.
  show(from, to) {
    const span = Math.min(this.duration, Math.max(Math.min(MIN_SPAN_S, this.duration), to - from));
    this.from = Math.min(Math.max(0, from), this.duration - span);
    this.to = this.from + span;
  }

  // Make the part longer or shorter by a factor, while a time keeps its place.
  zoom(factor, center) {
    const span = Math.min(this.duration, Math.max(Math.min(MIN_SPAN_S, this.duration), this.span * factor));
    const share = (center - this.from) / this.span;
    this.show(center - share * span, center - share * span + span);
  }

  pan(seconds) {
    this.show(this.from + seconds, this.to + seconds);
  }

  // Keep a time in view while it moves on: the next page begins with it.
  follow(seconds) {
    if (seconds >= this.from && seconds <= this.to) return false;
    this.show(seconds - 0.1 * this.span, seconds + 0.9 * this.span);
    return true;
  }

  // Return the times of the labels, and the distance between two of them.
  ticks() {
    const step = STEPS_S.find((seconds) => (seconds / this.span) * this.width >= LABEL_PX) ?? STEPS_S.at(-1) * Math.ceil(this.span / STEPS_S.at(-1) / 10);
    const times = [];
    for (let number = Math.ceil(this.from / step - 1e-9); number * step <= this.to; number++) times.push(number * step);
    return { step, times };
  }
}
