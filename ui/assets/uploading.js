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
};

class Uploads extends HTMLElement {
  #rows = new Map();

  connectedCallback() {
    if (this.shadowRoot) return;
    const root = shadow(this);
    this.list = element('ul', { class: 'rows', click: (event) => this.#act(event.target.closest('button')) });
    this.box = element('div', { class: 'uploads', hidden: true }, this.list);
    root.append(this.box);
    uploader.addEventListener('change', ({ detail }) => this.#show(detail));
    uploader.addEventListener('remove', ({ detail }) => this.#remove(detail.id));
    this.#listUnfinished();
  }

  // What another page began, or this one before it was left: the server has a part of it, and only the file is missing.
  async #listUnfinished() {
    const uploads = await uploader.unfinished().catch(() => []);
    const own = new Set(uploader.items.map((upload) => upload.uploadId));
    for (const upload of uploads)
      if (!own.has(upload.upload_id)) this.#show({ id: upload.upload_id, uploadId: upload.upload_id, name: upload.name, size: upload.size_bytes, sent: upload.received_bytes, state: 'unfinished' });
  }

  async #act(button) {
    const id = button?.closest('li')?.dataset.upload;
    if (!id) return;
    const { upload } = this.#rows.get(id);
    // A failed upload only leaves the page: what has arrived of it stays for a day, and the same file continues it.
    if (button.dataset.action !== 'discard') uploader[button.dataset.action](upload.id);
    else
      try {
        await uploader.discard(id);
        this.#remove(id);
      } catch (error) {
        toast(error.message);
      }
  }

  #remove(id) {
    this.#rows.get(String(id))?.item.remove();
    this.#rows.delete(String(id));
    this.box.hidden = !this.#rows.size;
  }

  #show(upload) {
    const id = String(upload.id);
    // The file is there again.
    if (upload.uploadId !== id) this.#remove(upload.uploadId);
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
    this.box.hidden = false;
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
