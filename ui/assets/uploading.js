// The uploads of this page: what is sent, how far, and what went wrong.
import { uploader } from './adding.js';
import { element, shadow } from './dom.js';
import { duration, percent } from './format.js';
import { text } from './strings.js';

class Uploads extends HTMLElement {
  #rows = new Map();

  connectedCallback() {
    if (this.shadowRoot) return;
    const root = shadow(this);
    this.list = element('ul', { class: 'rows' });
    this.box = element('div', { class: 'uploads', hidden: true }, this.list);
    root.append(this.box);
    uploader.addEventListener('change', ({ detail }) => this.#show(detail));
    uploader.addEventListener('remove', ({ detail }) => this.#show({ ...detail, state: 'done' }));
  }

  // A failed upload only leaves the page: what has arrived of it stays for a day, and the same file continues it.
  #end(id) {
    const row = this.#rows.get(id);
    if (!row.isFailed) {
      uploader.cancel(id);
      return;
    }
    row.item.remove();
    this.#rows.delete(id);
    this.box.hidden = !this.#rows.size;
  }

  #show(upload) {
    if (upload.state === 'done') {
      this.#rows.get(upload.id)?.item.remove();
      this.#rows.delete(upload.id);
    } else {
      let row = this.#rows.get(upload.id);
      if (!row) {
        row = { state: element('span', { class: 'state' }), button: element('button', { text: text('queue.cancel'), click: () => this.#end(upload.id) }), again: element('button', { text: text('queue.retry'), hidden: true, click: () => uploader.resume(upload.id) }) };
        row.item = element('li', {}, element('b', { text: upload.name }), row.state, element('span', { class: 'actions' }, row.again, row.button));
        this.#rows.set(upload.id, row);
        this.list.append(row.item);
      }
      row.state.className = `state ${upload.state}`;
      row.state.textContent = stateText(upload);
      row.isFailed = upload.state === 'failed';
      row.again.hidden = !row.isFailed;
      row.button.textContent = text(row.isFailed ? 'queue.dismiss' : 'queue.cancel');
    }
    this.box.hidden = !this.#rows.size;
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
