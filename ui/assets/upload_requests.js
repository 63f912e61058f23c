// Requests of uploads to the server, and the two ways in which they fail: the connection is lost, or the server refuses.

// A part without progress for this time is sent again.
const STALL_MS = 60_000;
const FULL_DISK = 507;

// The connection was lost, or the server has a fault that may pass.
export class LostConnection extends Error {}

// The server has refused a request. `code` is stable, `message` is its sentence.
export class Refusal extends Error {
  constructor(status, body, fallback) {
    super(body?.detail && typeof body.detail === 'string' ? body.detail : fallback);
    this.status = status;
    this.code = body?.code ?? '';
  }
}

// Send a request with a JSON document, if there is one, and return the document of the response.
export async function requestJson(method, address, document, signal, strings) {
  const options = { method, signal };
  if (document !== undefined) {
    options.body = JSON.stringify(document);
    options.headers = { 'Content-Type': 'application/json' };
  }
  let response;
  let text;
  try {
    response = await fetch(address, options);
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new LostConnection(error.message);
  }
  return bodyOf(response.status, text, strings);
}

// Return the document of a response. Throw what the server refuses, or a lost connection for a fault that may pass.
function bodyOf(status, text, strings) {
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    // A proxy, for instance, sends pages.
  }
  if (status >= 200 && status < 300) return body;
  if ((status >= 500 && status !== FULL_DISK) || status === 408) throw new LostConnection(String(status));
  throw new Refusal(status, body, status === 404 ? strings.gone : strings.refused);
}

// Send a part. `fetch` does not say how much of a body is sent; this does.
export function putPart(address, data, digest, signal, progress, strings) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let timer = 0;
    const abort = () => request.abort();
    const watch = () => {
      clearTimeout(timer);
      timer = setTimeout(abort, STALL_MS);
    };
    const lose = () => reject(new LostConnection(address));
    request.upload.onprogress = (event) => {
      watch();
      progress(event.loaded);
    };
    request.onload = () => {
      try {
        resolve(bodyOf(request.status, request.responseText, strings));
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = lose;
    request.onabort = lose;
    request.onloadend = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    };
    request.open('PUT', address);
    request.setRequestHeader('Content-Digest', `sha-256=:${digest}:`);
    request.setRequestHeader('Content-Type', 'application/octet-stream');
    signal.addEventListener('abort', abort);
    watch();
    if (signal.aborted) lose();
    else request.send(data);
  });
}

// Wait for a time, but no longer than until the browser is connected again.
export function pauseFor(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const end = (action) => () => {
      clearTimeout(timer);
      removeEventListener('online', go);
      signal.removeEventListener('abort', stop);
      action();
    };
    const go = end(resolve);
    const stop = end(() => reject(new DOMException('', 'AbortError')));
    const timer = setTimeout(go, milliseconds);
    addEventListener('online', go);
    signal.addEventListener('abort', stop);
  });
}
