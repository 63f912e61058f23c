// Times, shares and lengths as text.
import { text } from './strings.js';

// Return a time of a video: 1:02:03.
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const [hours, minutes, rest] = parts.map((part) => String(part).padStart(2, '0'));
  return parts[0] ? `${parts[0]}:${minutes}:${rest}` : `${parts[1]}:${rest}`;
}

// Return a remaining time in words of at most two units.
export function duration(seconds) {
  if (seconds < 60) return text('time.s', { count: Math.max(1, Math.round(seconds)) });
  if (seconds < 3600) return text('time.min', { count: Math.round(seconds / 60) });
  const minutes = Math.round(seconds / 60);
  return text('time.h', { hours: Math.floor(minutes / 60), minutes: minutes % 60 });
}

// Return a size of a file: 1.2 GB.
export function fileSize(bytes) {
  const units = ['kB', 'MB', 'GB', 'TB'];
  let size = bytes / 1000;
  while (size >= 1000 && units.length > 1) {
    size /= 1000;
    units.shift();
  }
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${units[0]}`;
}

export function percent(fraction) {
  return `${Math.floor((fraction ?? 0) * 100)} %`;
}

// Return a sentence of the server without the backticks around its commands, for places that have no other type for them.
export function plain(sentence) {
  return sentence.replaceAll('`', '');
}
