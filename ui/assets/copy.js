// A button that copies the text of its attribute `data-text`, such as a command.
import { element, shadow, toast } from './dom.js';
import { text } from './strings.js';

// Return the nodes of a sentence whose commands stand between backticks: each has a button that copies it.
export function withCommands(sentence) {
  return sentence.split('`').flatMap((part, index) => (index % 2 ? [element('code', { text: part }), ' ', element('longview-copy', { 'data-text': part })] : [part]));
}

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
