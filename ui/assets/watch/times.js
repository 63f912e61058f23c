// Times of a video as text, and back.

// Return a time as answers state it: 0:01:02.3, or whole seconds.
export function clockTime(seconds, { hasTenths = true } = {}) {
  const tenths = Math.round(Math.max(0, seconds) * 10);
  const whole = Math.floor(tenths / 10);
  const pad = (value) => String(value).padStart(2, '0');
  const text = `${Math.floor(whole / 3600)}:${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}`;
  return hasTenths ? `${text}.${tenths % 10}` : text;
}

export function spanText({ start, end }) {
  return `${clockTime(start)} – ${clockTime(end)}`;
}
