// What can be done with the selected span.
import { get, post, remove } from '../api.js';
import { element, toast } from '../dom.js';
import { percent } from '../format.js';
import { icon } from '../icons.js';
import { pageAddress } from '../page_address.js';
import { text } from '../strings.js';
import { askAbout } from './chat.js';
import { textOfSpan } from './span_text.js';
import { spanText } from './times.js';

const POLL_MS = 300;

export class SelectionBar {
  #cut = null;

  constructor(session) {
    this.session = session;
    this.span = element('output', { class: 'span-text' });
    const fail = (error) => toast(error.message);
    const button = (key, click) => element('button', { class: 'small', text: text(key), click });
    this.loop = element('button', { class: 'small', 'aria-pressed': 'false', text: text('watch.loop'), click: () => this.#toggleLoop() });
    this.isExact = element('input', { type: 'checkbox', checked: true });
    this.cutButton = button('watch.cut', () => this.#cutSpan());
    this.exactLabel = element('label', { class: 'exact', title: text('watch.cut.exact.title') }, this.isExact, text('watch.cut.exact'));
    this.cutState = element('span', { class: 'cut-state', role: 'status' });
    this.element = element('div', { class: 'selection', role: 'toolbar', 'aria-label': text('watch.selection'), hidden: true },
      this.span,
      button('watch.play.span', () => this.session.player.playPart(this.session.selection)),
      this.loop,
      this.cutButton,
      this.exactLabel,
      button('watch.ask', () => askAbout(this.session, text('watch.ask.question', { span: spanText(this.session.selection) }))),
      button('watch.similar', () => this.#similar().catch(fail)),
      button('watch.copy.link', () => this.#copy(this.#link())),
      button('watch.copy.time', () => this.#copy(spanText(this.session.selection))),
      button('watch.copy.quote', () => this.#quote().then((quote) => this.#copy(quote), fail)),
      element('button', { class: 'small', 'aria-label': text('watch.selection.clear'), title: text('watch.selection.clear'), click: () => this.session.select(null) }, icon('close')),
      this.cutState);
    session.addEventListener('selection', () => this.#update());
  }

  #update() {
    const { selection } = this.session;
    this.element.hidden = !selection;
    this.loop.setAttribute('aria-pressed', 'false');
    if (!selection) return;
    // A file with sound only cannot be cut.
    this.cutButton.hidden = this.exactLabel.hidden = !this.session.video.document?.has_pictures;
    this.span.textContent = text('watch.span', { span: spanText(selection), seconds: (selection.end - selection.start).toFixed(1) });
    if (!this.#cut) this.cutState.replaceChildren();
  }

  #toggleLoop() {
    const isOn = this.loop.getAttribute('aria-pressed') !== 'true';
    this.loop.setAttribute('aria-pressed', String(isOn));
    if (isOn) this.session.player.playPart(this.session.selection, { loops: true });
    else this.session.player.pause();
  }

  #words() {
    const { selection, video } = this.session;
    return selection.text || textOfSpan(video, selection);
  }

  async #similar() {
    const words = await this.#words();
    if (words) location.href = pageAddress('/search', { q: words.slice(0, 300) });
    else toast(text('watch.similar.none'));
  }

  #link() {
    const { start, end } = this.session.selection;
    return new URL(pageAddress('/watch', { video: this.session.video.id, t: start.toFixed(3), end: end.toFixed(3) }), location.href).href;
  }

  async #quote() {
    const { selection, video } = this.session;
    const words = await this.#words();
    return `“${words}” (${video.document.title}, ${spanText(selection)})`;
  }

  async #copy(content) {
    try {
      await navigator.clipboard.writeText(content);
      toast(text('watch.copied', { content }));
    } catch {
      toast(text('watch.copy.failed', { content }));
    }
  }

  // Let the server cut the span, and offer the file when it is there.
  async #cutSpan() {
    if (this.#cut) {
      await remove(this.#cut).catch(() => {});
      return;
    }
    const { start, end } = this.session.selection;
    const cuts = `/v1/videos/${this.session.video.id}/cuts`;
    try {
      let cut = await post(cuts, { start_s: start, end_s: end, exact: this.isExact.checked });
      this.#cut = `${cuts}/${cut.cut_id}`;
      this.cutButton.textContent = text('watch.cut.cancel');
      while (cut.state === 'running') {
        this.cutState.textContent = text('watch.cut.running', { percent: percent(cut.fraction) });
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        cut = await get(this.#cut);
      }
      if (cut.state !== 'ready') throw new Error(cut.reason);
      const link = element('a', { href: `${this.#cut}/file`, download: cut.name, text: text('watch.cut.done', { name: cut.name }) });
      this.cutState.replaceChildren(link, ` ${spanText({ start: cut.start_s, end: cut.end_s })}`);
      link.click();
      this.session.readCuts();
    } catch (error) {
      this.cutState.textContent = error.status === 404 ? text('watch.cut.cancelled') : error.message;
    } finally {
      this.#cut = null;
      this.cutButton.textContent = text('watch.cut');
    }
  }
}
