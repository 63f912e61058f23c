// Requests to the routes of the server. Each failure is an Error with one sentence for the user.
import { text } from './strings.js';

async function request(method, path, body) {
  let reply;
  try {
    const isFile = body instanceof Blob;
    const headers = { 'X-Longview-Client': '1', ...(body === undefined || isFile ? {} : { 'Content-Type': 'application/json' }) };
    reply = await fetch(path, { method, headers, body: body === undefined || isFile ? body : JSON.stringify(body), keepalive: method === 'PATCH' });
  } catch {
    throw new Error(text('server.error'));
  }
  const kind = reply.headers.get('Content-Type') ?? '';
  const document = kind.includes('json') ? await reply.json().catch(() => null) : null;
  if (!reply.ok) {
    const error = new Error(typeof document?.detail === 'string' ? document.detail : `${reply.status} ${reply.statusText}`);
    error.status = reply.status;
    throw error;
  }
  return document;
}

export const get = (path) => request('GET', path);
// `body`: a document, or a file that is sent as it is.
export const post = (path, body = {}) => request('POST', path, body);
export const patch = (path, body) => request('PATCH', path, body);
export const remove = (path) => request('DELETE', path);

// Return an address with those parameters that have a value.
export function address(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters))
    if (value !== null && value !== undefined && value !== '' && value !== false) query.set(name, String(value));
  return query.size ? `${path}?${query}` : path;
}
