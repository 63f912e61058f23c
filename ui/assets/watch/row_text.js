// The text of a row: its words, which can be clicked where they have times, and what is found in it.
import { element } from '../dom.js';
import { findAll } from './folding.js';

// Longest text that a row shows, in characters.
export const MAX_CHARACTERS = 2000;

// Return the nodes of a row's text. `query`: the folded text that is marked.
export function textNodes(row, query) {
  const text = row.text.length > MAX_CHARACTERS ? `${row.text.slice(0, MAX_CHARACTERS)} …` : row.text;
  const words = wordPlaces(text, row.words ?? []);
  const marks = findAll(text, query);
  if (!words.length && !marks.length) return [text];
  const nodes = [];
  let position = 0;
  for (const { start, end, word } of [...words, { start: text.length, end: text.length, word: null }]) {
    nodes.push(...markedNodes(text, position, start, marks));
    if (word) nodes.push(element('span', { class: 'word', 'data-start': word.start_s, 'data-end': word.end_s }, markedNodes(text, start, end, marks)));
    position = end;
  }
  return nodes;
}

// Return where the words of a row are in its text; those that are not in it are left out.
export function wordPlaces(text, words) {
  const places = [];
  let position = 0;
  for (const word of words) {
    const spoken = word.text.trim();
    const start = spoken ? text.indexOf(spoken, position) : -1;
    if (start < 0) continue;
    position = start + spoken.length;
    places.push({ start, end: position, word });
  }
  return places;
}

function markedNodes(text, from, to, marks) {
  const nodes = [];
  let position = from;
  for (const [start, end] of marks) {
    const left = Math.max(from, start);
    const right = Math.min(to, end);
    if (left >= right) continue;
    if (left > position) nodes.push(text.slice(position, left));
    nodes.push(element('mark', { text: text.slice(left, right) }));
    position = right;
  }
  if (position < to) nodes.push(text.slice(position, to));
  return nodes;
}
