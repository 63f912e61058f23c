// What was said, shown or written in a part of the video.
import { address, get } from '../api.js';
import { wordPlaces } from './row_text.js';

// Sources in the order in which they are quoted, and the largest number of rows of a quote.
const ORDER = ['speech', 'subtitles', 'screen_text', 'captions'];
const MAX_ROWS = 200;

// Return the text of the first source that has some in a span: the words that have times, and other rows as a whole.
export async function textOfSpan(video, { start, end }) {
  for (const source of ORDER.filter((name) => video.track(name)?.segments)) {
    const page = await get(address(`/v1/videos/${video.id}/segments`, { source, from_s: start, to_s: end, limit: MAX_ROWS, version: video.shownVersion(source) }));
    const texts = page.segments.map((row) => textWithin(row, start, end)).filter(Boolean);
    if (texts.length) return [...texts, ...(page.next_offset === null ? [] : ['…'])].join(' ');
  }
  return '';
}

function textWithin(row, start, end) {
  const middle = (start + end) / 2;
  // A word at an edge belongs to the span if more than half of it does; a span within a word has that word.
  const isWithin = ({ start_s, end_s }) => {
    const own = (start_s + end_s) / 2;
    return (own >= start && own < end) || (middle >= start_s && middle < end_s);
  };
  const places = wordPlaces(row.text, row.words ?? []);
  if (!places.length) return isWithin(row) ? row.text : '';
  const within = places.filter(({ word }) => isWithin(word));
  return within.length ? row.text.slice(within[0].start, within.at(-1).end) : '';
}
