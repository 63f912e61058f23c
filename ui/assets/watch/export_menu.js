// The menu of a panel: its exports, its versions, and the subtitle files of the video.
import { address, get } from '../api.js';
import { element } from '../dom.js';
import { icon } from '../icons.js';
import { text } from '../strings.js';
import { sourceName } from './source_view.js';
import { SubtitleFiles } from './subtitle_files.js';

// The formats that the server writes.
const FORMATS = document.querySelector('meta[name=longview-formats]').content.split(' ');

export class ExportMenu {
  #source = '';
  #key = '';
  // Number of the last reading of what the menu shows. The replies to an earlier one may come after it.
  #reading = 0;

  constructor(session) {
    this.video = session.video;
    this.subtitles = new SubtitleFiles(session);
    this.rows = element('div', { class: 'menu-rows' });
    this.element = element('details', { class: 'panel-menu' }, element('summary', { 'aria-label': text('watch.menu'), title: text('watch.menu') }, icon('more')), this.rows);
    this.element.addEventListener('toggle', () => { if (this.element.open) this.#fill(); });
    // The page itself clicks buttons of Gradio, which does not close the menu.
    document.addEventListener('click', (event) => { if (event.isTrusted && !event.composedPath().includes(this.element)) this.element.open = false; });
    this.element.addEventListener('keydown', (event) => { if (event.key === 'Escape') this.element.open = false; });
  }

  update(source) {
    const key = `${source} ${this.video.track(source)?.updated_at}`;
    if (key === this.#key) return;
    this.#key = key;
    this.#source = source;
    if (this.element.open) this.#fill();
  }

  async #fill() {
    const reading = ++this.#reading;
    const source = this.#source;
    const track = this.video.track(source);
    const { versions } = await get(`/v1/videos/${this.video.id}/versions`).catch(() => ({ versions: [] }));
    const own = versions.filter((version) => version.source === source);
    const shown = this.video.shownVersion(source);
    const rows = [];
    if (track?.segments) {
      const parameters = shown === null ? { source } : { version: shown };
      rows.push(element('div', { class: 'menu-row' }, element('span', { text: text('watch.export', { source: sourceName(source) }) }),
        FORMATS.map((format) => element('a', { href: address(`/export/${this.video.id}.${format}`, parameters), download: '', text: format.toUpperCase() }))));
    }
    if (own.length > 1) rows.push(this.#choice(source, own, shown));
    const current = own.find((version) => (shown === null ? version.current : version.number === shown));
    if (current?.maker) rows.push(element('div', { class: 'menu-row made', text: text('watch.made', { maker: current.maker }) }));
    await this.subtitles.update();
    if (reading !== this.#reading) return;
    this.rows.replaceChildren(...rows, ...this.subtitles.rows);
  }

  #choice(source, versions, shown) {
    const select = element('select', { 'aria-label': text('watch.version'), change: () => this.video.showVersion(source, select.value ? Number(select.value) : null).then(() => this.#fill()) },
      versions.map((version) => element('option', {
        value: version.current ? '' : version.number,
        selected: version.current ? shown === null : version.number === shown,
        text: text(version.current ? 'watch.version.current' : 'watch.version.earlier', { made: new Date(version.made_at).toLocaleString(), count: version.segments.toLocaleString() }),
      })));
    return element('label', { class: 'menu-row' }, element('span', { text: text('watch.version') }), select);
  }
}
