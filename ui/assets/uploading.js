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

  #show(upload) {
    if (upload.state === 'done') {
      this.#rows.get(upload.id)?.item.remove();
      this.#rows.delete(upload.id);
    } else {
      let row = this.#rows.get(upload.id);
      if (!row) {
        row = { state: element('span', { class: 'state' }), button: element('button', { text: text('queue.cancel'), click: () => uploader.cancel(upload.id) }) };
        row.item = element('li', {}, element('b', { text: upload.name }), row.state, element('span', { class: 'actions' }, row.button));
        this.#rows.set(upload.id, row);
        this.list.append(row.item);
      }
      row.state.className = `state ${upload.state}`;
      row.state.textContent = stateText(upload);
      if (upload.state === 'failed') row.button.textContent = text('queue.dismiss');
    }
    this.box.hidden = !this.#rows.size;
  }
}

function stateText(upload) {
  if (upload.sentence) return upload.sentence;
  const left = upload.secondsLeft ? text('upload.remaining', { left: duration(upload.secondsLeft) }) : '';
  return [text(`upload.${upload.state}`, { percent: percent(upload.sent / upload.size) }), left].filter(Boolean).join(', ');
}

customElements.define('longview-uploads', Uploads);
