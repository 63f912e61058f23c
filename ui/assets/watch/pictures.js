// The small pictures and the waveform of a video.
import { get, remove } from '../api.js';
import { element } from '../dom.js';
import { listen } from '../events.js';
import { percent, plain } from '../format.js';
import { text } from '../strings.js';

// Return the facts of the small pictures with their address; null if there are none.
export async function loadSprite(id) {
  const facts = await get(`/v1/videos/${id}/sprite.json`).catch(() => null);
  return facts && { ...facts, address: `/v1/videos/${id}/sprite.jpg` };
}

// Loads the peaks of the sound as soon as the server has them, and says how far it is.
export class Waveform {
  #isThere = false;

  constructor(session) {
    this.session = session;
    this.path = `/v1/videos/${session.video.id}/waveform`;
    this.state = element('div', { class: 'wave-state', hidden: true });
    session.strip.element.append(this.state);
    listen('videos', ({ ids }) => { if (ids.includes(session.video.id) && !this.#isThere) this.load(); });
    listen('jobs', ({ preparations }) => { if (!this.#isThere && this.isWaiting && preparations) this.load(); });
  }

  async load() {
    // The page loads it when it has read the video, which an event may precede.
    if (!this.session.video.document) return;
    const facts = await get(`${this.path}.json`).catch(() => null);
    if (!facts || this.#isThere) return;
    this.isWaiting = facts.state === 'running';
    this.#say(facts);
    if (facts.state !== 'ready') return;
    const reply = await fetch(`${this.path}.bin`).catch(() => null);
    if (!reply?.ok) return;
    this.#isThere = true;
    this.session.strip.setPeaks(new Uint8Array(await reply.arrayBuffer()), facts.peaks_per_s);
  }

  #say(facts) {
    // The notice above the video says that its file is gone.
    this.state.hidden = !['running', 'failed'].includes(facts.state) || this.session.video.document.missing;
    if (facts.state === 'running')
      this.state.replaceChildren(text('watch.wave', { percent: percent(facts.fraction) }), ' ', element('button', { class: 'small', text: text('queue.cancel'), click: () => remove(this.path).then(() => this.load(), () => {}) }));
    else this.state.textContent = plain(facts.reason ?? '');
  }
}
