// The event stream of the server, shared by everything on a page. A hidden page closes its connection, because browsers allow
// six for each server; when it is shown again, it continues behind the last event that it has got.
const listeners = new Map();
let source = null;
let lastId = '';
let isGone = false;
// Whether the first connection comes long after the page has read what it shows: it was opened in the background, or without a server.
let isLate = false;
const NAMES = ['connected', 'jobs', 'videos', 'positions', 'conversation', 'reset'];
const RETRY_MS = 1000;

// Call a function with the data of each event of a name: `jobs`, `videos`, `positions` (where one stopped watching), `conversation`,
// `reset` (something was missed), or `connection` with whether the server answers.
export function listen(name, listener) {
  if (!listeners.has(name)) listeners.set(name, []);
  listeners.get(name).push(listener);
}

function emit(name, data) {
  for (const listener of listeners.get(name) ?? []) listener(data);
}

function connect() {
  source?.close();
  source = null;
  if (document.hidden) {
    isLate = true;
    return;
  }
  source = new EventSource(lastId ? `/v1/events?last_event_id=${encodeURIComponent(lastId)}` : '/v1/events');
  source.onopen = () => setGone(false);
  source.onerror = () => {
    setGone(true);
    isLate = true;
    // A closed connection is not opened again by the browser, for example after an error of the server.
    if (source?.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  };
  for (const name of NAMES)
    source.addEventListener(name, (event) => {
      // Without the id of an earlier event, the server repeats only those of the last seconds.
      const hasMissed = isLate && !lastId;
      lastId = event.lastEventId || lastId;
      emit(hasMissed ? 'reset' : name, JSON.parse(event.data));
    });
}

function setGone(value) {
  if (value === isGone) return;
  isGone = value;
  emit('connection', !value);
}

export function start() {
  document.addEventListener('visibilitychange', connect);
  window.addEventListener('pagehide', () => source?.close());
  connect();
}
