// A button that copies the text of its attribute `data-text`, such as a command.
import { element, shadow, toast } from './dom.js';
import { text } from './strings.js';

class Copy extends HTMLElement {
  connectedCallback() {
    if (this.shadowRoot) return;
    const label = text('copy.label', { text: this.dataset.text });
    shadow(this).append(element('button', { 'aria-label': label, text: text('copy'), click: () => this.#copy() }));
  }

  async #copy() {
    const copied = this.dataset.text;
    try {
      await navigator.clipboard.writeText(copied);
      toast(text('copy.done', { text: copied }));
    } catch {
      toast(text('copy.failed', { text: copied }));
    }
  }
}

customElements.define('longview-copy', Copy);
