// The form for the options of a run. It has only what means something on this machine, which the server states.
import { get } from './api.js';
import { element } from './dom.js';
import { hasText, text } from './strings.js';

// The order of the sources in the form.
const SOURCES = ['captions', 'speech', 'screen_text', 'subtitles'];

let choices = null;

// Return what may be chosen on this machine, which is asked for once.
export function runChoices() {
  choices ??= get('/v1/run-options').catch((error) => { choices = null; throw error; });
  return choices;
}

// Make the rows of the form. Return { node, values, load }: `values()` is the options as the server takes them.
//   changed: is called when an option has changed.
export function optionRows(changed) {
  const node = element('div', { class: 'option-rows', hidden: true });
  const form = { node, values: () => ({}), load: () => loaded };
  let loaded = null;
  form.load = () => (loaded ??= runChoices().then((known) => { fill(node, known, form, changed); }).catch((error) => {
    loaded = null;
    throw error;
  }));
  return form;
}

// Make a closed section with the form, which is filled when it is opened.
export function optionSection(changed, failed) {
  const rows = optionRows(changed);
  const node = element('details', { class: 'options', toggle: () => { if (node.open) rows.load().catch(failed); } },
    element('summary', { text: text('options.title') }), rows.node);
  return { node, values: () => rows.values() };
}

function fill(node, known, form, changed) {
  const boxes = new Map(SOURCES.filter((name) => known.sources.includes(name)).map((name) => [name, element('input', { type: 'checkbox', checked: true, value: name })]));
  const isChosen = (source) => boxes.get(source)?.checked ?? false;
  const language = select(languages(known));
  const model = select(others(known.speech_models, known.server.speech_model).map((name, index) => [index ? name : '', name]));
  const precision = select(others(known.precisions, known.server.precision).map((name, index) => [index ? name : '', text(`options.precision.${name}`)]));
  const times = ['from', 'to'].map((name) => element('input', { type: 'text', class: 'time', placeholder: text(`options.${name}.example`), 'aria-label': text(`options.${name}`), maxlength: 40, autocomplete: 'off' }));
  const long = element('input', { type: 'checkbox' });
  const rows = [
    [row('sources', ...[...boxes].map(([name, box]) => element('label', {}, box, text(`source.${name}`)))), () => true],
    [row('language', language), () => isChosen('speech')],
    [row('model', model), () => isChosen('speech') && known.speech_models.length > 1],
    [row('part', element('span', { text: text('options.from.label') }), times[0], element('span', { text: text('options.to.label') }), times[1]), () => true],
    [row('precision', precision), () => isChosen('captions') && known.precisions.length > 1],
    [row('long', element('label', {}, long, text('options.long.text'))), () => isChosen('captions')],
  ];
  const show = () => { for (const [parts, isShown] of rows) for (const part of parts) part.hidden = !isShown(); };
  node.replaceChildren(...rows.flatMap(([parts]) => parts));
  if (!known.captions_footage) node.append(element('p', { class: 'note', text: text('options.captions.none') }));
  show();
  node.hidden = false;
  form.values = () => {
    const sources = [...boxes.values()].filter((box) => box.checked).map((box) => box.value);
    const options = {};
    if (sources.length < boxes.size) options.sources = sources;
    if (isChosen('speech') && language.value) options.speech_language = language.value;
    if (isChosen('speech') && model.value) options.speech_model = model.value;
    if (isChosen('captions') && precision.value) options.precision = precision.value;
    if (isChosen('captions') && long.checked) options.accepts_long = true;
    for (const [name, input] of [['start_s', times[0]], ['end_s', times[1]]]) if (input.value.trim()) options[name] = input.value.trim();
    return options;
  };
  node.addEventListener('input', () => { show(); changed(); });
  // Enter in a field must not send the form around it.
  node.addEventListener('keydown', (event) => { if (event.key === 'Enter' && event.target.matches('.time')) event.preventDefault(); });
}

function row(name, ...controls) {
  const id = `option-${name}`;
  return [
    element('span', { class: 'name', id, text: text(`options.${name}`) }),
    element('div', { class: 'value', role: 'group', 'aria-labelledby': id }, ...controls.map((control) => {
      if (control.tagName === 'SELECT') control.setAttribute('aria-labelledby', id);
      return control;
    })),
  ];
}

function select(values) {
  return element('select', {}, values.map(([value, label]) => element('option', { value, text: label })));
}

// Return names, the one that holds where nothing is chosen first.
function others(names, first) {
  return [...(first ? [first] : []), ...names.filter((name) => name !== first)];
}

// Return the codes of the languages with their names: first what holds where nothing is chosen.
function languages(known) {
  const names = new Intl.DisplayNames(['en'], { type: 'language' });
  const own = known.server.speech_language;
  const all = known.speech_languages.filter((code) => code !== own).map((code) => [code, hasText(`language.${code}`) ? text(`language.${code}`) : names.of(code)]);
  all.sort((one, other) => one[1].localeCompare(other[1]));
  const automatic = text('options.language.auto');
  if (!own || own === 'auto') return [['', automatic], ...all];
  return [['', names.of(own)], ['auto', automatic], ...all];
}
