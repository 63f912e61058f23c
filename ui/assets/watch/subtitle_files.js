// The rows of a menu that add and remove the subtitle files of a video.
import { address, get, post, remove } from '../api.js';
import { element, toast } from '../dom.js';
import { icon } from '../icons.js';
import { text } from '../strings.js';

const SUFFIXES = document.querySelector('meta[name=longview-subtitles]').content;

export class SubtitleFiles {
  constructor(session) {
    this.session = session;
    this.path = `/v1/videos/${session.video.id}/subtitles`;
    this.file = element('input', { type: 'file', accept: SUFFIXES, hidden: true, 'aria-label': text('watch.subtitles.add'), change: () => this.#add() });
    this.offset = element('input', { type: 'number', step: '0.1', value: '0', 'aria-label': text('watch.subtitles.offset') });
    this.add = element('button', { text: text('watch.subtitles.add'), click: () => this.file.click() });
    this.names = element('ul', { class: 'subtitle-files' });
    this.rows = [
      this.names,
      element('div', { class: 'menu-row' }, this.add, this.file, element('label', { class: 'offset' }, text('watch.subtitles.offset'), this.offset)),
    ];
  }

  // Read what the subtitles are from.
  async update() {
    const { names } = await get(this.path).catch(() => ({ names: [] }));
    this.#show(names);
  }

  #show(names) {
    this.names.hidden = !names.length;
    this.names.replaceChildren(...names.map((name) => element('li', {}, element('span', { text: name.replace(/^stream (\d+)$/, (_, number) => text('watch.subtitles.stream', { number })) }), element('button', {
      class: 'small', title: text('watch.subtitles.remove', { name }), 'aria-label': text('watch.subtitles.remove', { name }), click: () => this.#remove(name),
    }, icon('close')))));
  }

  async #add() {
    const [file] = this.file.files;
    this.file.value = '';
    if (!file) return;
    this.add.disabled = true;
    try {
      const added = await post(address(this.path, { name: file.name, offset_s: Number(this.offset.value) || '' }), file);
      const left = added.unmatched_share ? text('watch.subtitles.unmatched', { percent: `${Math.round(added.unmatched_share * 100)} %` }) : '';
      toast([text('watch.subtitles.added', { count: added.segments.toLocaleString(), name: file.name }), left, ...added.problems].filter(Boolean).join(' '));
      this.offset.value = '0';
      this.session.openTab('transcript', 'subtitles');
      await this.update();
    } catch (error) {
      toast(error.message);
    } finally {
      this.add.disabled = false;
    }
  }

  async #remove(name) {
    if (!confirm(text('watch.subtitles.confirm', { name }))) return;
    try {
      const { names } = await remove(address(this.path, { name }));
      this.#show(names);
    } catch (error) {
      toast(error.message);
    }
  }
}
