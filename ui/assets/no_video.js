// What a page shows where it has no video: why, and the one next action. The controls that need a video are hidden meanwhile
// (`.needs-video` in style.css).
import { get, post } from './api.js';
import { element, shadow, toast } from './dom.js';
import { listen } from './events.js';
import { pageAddress } from './page_address.js';
import { text } from './strings.js';

// `data-kind`: `empty` (the library has no videos; shown while that is so), `unknown` (no video has the id of the address), or
// `removed` (the video `data-video` can be brought back; `data-reason` says what it was).
class NoVideo extends HTMLElement {
  connectedCallback() {
    if (this.shadowRoot) return;
    const { kind, reason } = this.dataset;
    const action = {
      empty: () => link('library.add'),
      unknown: () => link('none.open'),
      removed: () => element('button', { class: 'primary', text: text('none.undo'), click: (event) => this.#bringBack(event.target) }),
    }[kind]();
    shadow(this).append(element('div', { class: 'no-video' }, element('p', { text: reason ?? text(`none.${kind}`) }), element('p', {}, action)));
    if (kind !== 'empty') return;
    this.hidden = true;
    for (const name of ['videos', 'reset', 'connection']) listen(name, () => this.#look());
    this.#look();
  }

  async #look() {
    if (!this.isConnected) return;
    const page = await get('/v1/videos?limit=1').catch(() => null);
    if (page) this.hidden = page.total > 0;
  }

  async #bringBack(button) {
    if (button.ariaBusy) return;
    button.ariaBusy = 'true';
    try {
      await post(`/v1/videos/${this.dataset.video}/undo-removal`);
      location.reload();
    } catch (error) {
      toast(error.message);
    } finally {
      button.ariaBusy = null;
    }
  }
}

function link(key) {
  return element('a', { class: 'button primary', href: pageAddress('/'), text: text(key) });
}

customElements.define('longview-no-video', NoVideo);
