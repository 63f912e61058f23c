// The uploads of this page, and those that were begun and not finished: what is sent, how far, and what went wrong.
import { uploader } from './adding.js';
import { element, shadow, toast } from './dom.js';
import { duration, percent } from './format.js';
import { text } from './strings.js';

// Buttons of a row for each state, with their texts.
const ACTIONS = {
  waiting: { pause: 'queue.pause', cancel: 'queue.cancel' },
  sending: { pause: 'queue.pause', cancel: 'queue.cancel' },
  checking: { cancel: 'queue.cancel' },
  paused: { resume: 'queue.resume', cancel: 'queue.cancel' },
  failed: { resume: 'queue.retry', forget: 'queue.dismiss' },
  unfinished: { discard: 'upload.discard' },
  // Who gives it up does so on the page that sends it.
  elsewhere: {},
};
// Time between two looks at what other pages send, in milliseconds.
const LOOK_MS = 2000;

class Uploads extends HTMLElement {
  #rows = new Map();
  #forgotten = new Set();
  #timer = null;

  connectedCallback() {
    if (this.shadowRoot) return;
    const root = shadow(this);
    this.list = element('ul', { class: 'rows', click: (event) => this.#act(event.target.closest('button')) });
    this.box = element('div', { class: 'uploads', hidden: true }, this.list);
    root.append(this.box);
    uploader.addEventListener('change', ({ detail }) => this.#show(detail));
    uploader.addEventListener('remove', ({ detail }) => this.#remove(detail.id));
    document.addEventListener('visibilitychange', () => this.#listOthers());
    this.#listOthers();
  }

  // List what other pages send, and what they or this one before it was left have begun: of that, only the file is missing.
  async #listOthers() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    const uploads = await uploader.unfinished().catch(() => null);
    const own = new Set([...uploader.items.map((upload) => upload.uploadId), ...this.#forgotten]);
    const others = (uploads ?? []).filter((upload) => !own.has(upload.upload_id));
    const ids = new Set(others.map((upload) => upload.upload_id));
    if (uploads) for (const [id, row] of this.#rows) if (row.upload.uploadId === id && !ids.has(id)) this.#remove(id);
    for (const { upload_id: id, name, size_bytes: size, received_bytes: sent, is_active: isActive } of others)
      this.#show({ id, uploadId: id, name, size, sent, state: isActive ? 'elsewhere' : 'unfinished' });
    clearTimeout(this.#timer);
    // Nothing is asked for while nobody sends anything.
    if ([...this.#rows.values()].some((row) => row.upload.state === 'elsewhere')) this.#timer = setTimeout(() => this.#listOthers(), LOOK_MS);
  }

  async #act(button) {
    const id = button?.closest('li')?.dataset.upload;
    if (!id) return;
    const { upload } = this.#rows.get(id);
    // A failed upload only leaves the page: what has arrived of it stays for a day, and the same file continues it.
    if (button.dataset.action === 'forget') this.#forgotten.add(upload.uploadId);
    if (button.dataset.action !== 'discard') uploader[button.dataset.action](upload.id);
    else
      try {
        // Another page may have resumed it since the last look.
        await this.#listOthers();
        if (this.#rows.get(id)?.upload.state !== 'unfinished') return;
        await uploader.discard(id);
        this.#remove(id);
      } catch (error) {
        this.#listOthers();
        toast(error.message);
      }
  }

  #remove(id) {
    this.#rows.get(String(id))?.item.remove();
    this.#rows.delete(String(id));
    this.#showBox();
  }

  #show(upload) {
    const id = String(upload.id);
    // The file is there again.
    if (upload.uploadId !== id) {
      this.#remove(upload.uploadId);
      this.#forgotten.delete(upload.uploadId);
    }
    if (upload.state === 'done') {
      this.#remove(id);
      return;
    }
    let row = this.#rows.get(id);
    if (!row) {
      row = { state: element('span'), actions: element('span', { class: 'actions' }) };
      row.item = element('li', { 'data-upload': id }, element('b', { text: upload.name }), row.state, row.actions);
      this.#rows.set(id, row);
      this.list.append(row.item);
    }
    row.state.className = `state ${upload.state}`;
    row.state.textContent = stateText(upload);
    // Buttons stay while the progress changes, so that a press and its release are one click.
    if (row.upload?.state !== upload.state)
      row.actions.replaceChildren(...Object.entries(ACTIONS[upload.state]).map(([action, key]) => element('button', { 'data-action': action, text: text(key) })));
    row.upload = upload;
    this.#showBox();
  }

  #showBox() {
    this.box.hidden = !this.#rows.size;
    this.toggleAttribute('data-busy', !this.box.hidden);
  }
}

function stateText(upload) {
  if (upload.sentence) return upload.sentence;
  const left = upload.secondsLeft ? text('upload.remaining', { left: duration(upload.secondsLeft) }) : '';
  return [text(`upload.${upload.state}`, { percent: percent(upload.sent / upload.size) }), left].filter(Boolean).join(', ');
}

window.addEventListener('beforeunload', (event) => {
  // Another page would end them; the same file continues them when it is dropped again.
  if (uploader.items.some((upload) => ['waiting', 'sending', 'checking'].includes(upload.state))) event.preventDefault();
});

customElements.define('longview-uploads', Uploads);
