// Uploads of files in parts; the server is `ui/routes/uploads.py`. The page remembers nothing: the server finds the unfinished
// upload of a file again, and states which parts it has. All texts are the server's, or those that are passed in.

import { digestOf, fingerprintOf, partOf } from './file_digests.js';
import { LostConnection, Refusal, pauseFor, putPart, requestJson } from './upload_requests.js';

const PARTS_AT_ONCE = 2;
// Times between two attempts after a lost connection: doubled from the first to the last one.
const FIRST_WAIT_MS = 1000;
const LAST_WAIT_MS = 8000;
// Parts that arrive damaged are sent again this often, and so is what the server finds damaged in the end.
const MAX_DAMAGES = 3;
// The speed is that of the last seconds.
const SPEED_SPAN_MS = 5000;
const PROGRESS_PERIOD_MS = 200;

// Sends files, one after the other. Events: `change` and `remove`, each with the snapshot of a file in `detail`.
//   strings: { lost, unreadable, gone, refused, differs }, sentences for: the connection is lost and the upload resumes by
//     itself; the file cannot be read; the upload is no longer on the server; the server has refused it without a reason;
//     another page is sending a file that looks the same and is not.
//   suffixes: endings of the names of media files, in lower case.
export class Uploader extends EventTarget {
  #strings;
  #suffixes;
  #address;
  #items = [];
  #lastId = 0;

  constructor({ strings, suffixes, address = '/v1/uploads' }) {
    super();
    this.#strings = strings;
    this.#suffixes = suffixes;
    this.#address = address;
  }

  // Snapshots of all files in the order in which they were added.
  get items() {
    return this.#items.map(snapshot);
  }

  // Add files, the files of folders, or what was dropped (a DataTransfer, which is read before this function waits for anything).
  // Return the ids of the media files, and the names of the others, which were left out. `options`: of the run that indexes each file.
  async add(files, { options } = {}) {
    const list = await filesOf(files);
    const isMedia = (file) => this.#suffixes.some((suffix) => file.name.toLowerCase().endsWith(suffix));
    const media = list.filter(isMedia);
    const ids = media.map((file) => this.#addFile(file, options));
    this.#sendNext();
    return { ids, skipped: list.filter((file) => !isMedia(file)).map((file) => file.name) };
  }

  pause(id) {
    const item = this.#find(id);
    if (!item || !['waiting', 'sending'].includes(item.state)) return;
    this.#end(item, 'paused');
  }

  // Resume a file that is paused, or try one again that has failed.
  resume(id) {
    const item = this.#find(id);
    if (!item || !['paused', 'failed'].includes(item.state)) return;
    this.#set(item, 'waiting');
    this.#sendNext();
  }

  // Give a file up: nothing of it stays on the server, unless it is complete already and its job has been added.
  cancel(id) {
    const item = this.#find(id);
    if (!item) return;
    this.#items = this.#items.filter((other) => other !== item);
    item.controller?.abort();
    item.isActive = false;
    if (item.uploadId && item.state !== 'done') this.discard(item.uploadId).catch(() => {});
    this.dispatchEvent(new CustomEvent('remove', { detail: snapshot(item) }));
    this.#sendNext();
  }

  // Forget a file that has failed. What has arrived of it stays on the server.
  forget(id) {
    const item = this.#find(id);
    if (item?.state !== 'failed') return;
    this.#items = this.#items.filter((other) => other !== item);
    this.dispatchEvent(new CustomEvent('remove', { detail: snapshot(item) }));
  }

  // What was begun earlier, also by other pages: its files have to be added again.
  async unfinished() {
    return (await this.#request('GET', '')).uploads;
  }

  // Give up what was begun earlier, by its id on the server.
  async discard(uploadId) {
    await this.#request('DELETE', `/${uploadId}`);
  }

  // Stop sending. What has arrived stays on the server.
  close() {
    for (const item of this.#items) item.controller?.abort();
  }

  // -- the queue ------------------------------------------------------------------------------------------------------

  #find(id) {
    return this.#items.find((item) => item.id === id);
  }

  #addFile(file, options) {
    const same = this.#items.find((item) => isSameFile(item.file, file) && item.state !== 'done');
    if (same) {
      // The new one can be read even if the earlier one no longer can.
      same.file = file;
      same.sent.clear();
      // Who drops it again chooses no other ones.
      same.options = options ?? same.options;
      this.resume(same.id);
      return same.id;
    }
    const item = {
      id: ++this.#lastId, file, options, uploadId: null, partBytes: 0, missing: [], sent: new Set(), storedBytes: 0, underway: new Map(),
      samples: [], state: 'waiting', sentence: '', job: null, sha256: null, alreadyThere: false,
      isActive: false, controller: null, shownAt: 0,
    };
    this.#items.push(item);
    this.#show(item);
    return item.id;
  }

  #sendNext() {
    if (this.#items.some((item) => item.isActive)) return;
    const next = this.#items.find((item) => item.state === 'waiting' && !item.controller);
    if (next) this.#run(next);
  }

  async #run(item) {
    item.isActive = true;
    item.controller = new AbortController();
    const { signal } = item.controller;
    try {
      await this.#begin(item, signal);
      for (let damages = 0; item.state !== 'done'; damages++) {
        this.#set(item, 'sending');
        await this.#sendParts(item, signal);
        // The server hashes and probes the file; meanwhile the next one is sent.
        this.#set(item, 'checking');
        item.isActive = false;
        this.#sendNext();
        await this.#complete(item, signal, damages);
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#end(item, 'failed', error instanceof Refusal ? error.message : this.#strings.unreadable);
    }
  }

  // End the work on a file, and begin with the next one.
  #end(item, state, sentence = '') {
    item.controller?.abort();
    item.controller = null;
    item.isActive = false;
    item.underway.clear();
    this.#set(item, state, sentence);
    this.#sendNext();
  }

  // -- one file -------------------------------------------------------------------------------------------------------

  async #begin(item, signal) {
    const fingerprint = await fingerprintOf(item.file);
    const { name, size, lastModified } = item.file;
    const document = { name, size_bytes: size, modified_ms: Math.max(0, Math.trunc(lastModified)), fingerprint };
    const begin = () => this.#insist(item, signal, () => this.#request('POST', '', document, signal));
    let upload = await begin();
    this.#take(item, upload);
    if (await this.#isOfFile(item, signal)) return;
    // The file has changed in its middle: what has arrived of it earlier is of no use.
    if (upload.is_active) throw new Refusal(409, null, this.#strings.differs);
    await this.discard(item.uploadId).catch((error) => { if (error.status !== 404) throw error; });
    item.sent.clear();
    upload = await begin();
    this.#take(item, upload);
  }

  // Whether the parts that the server has are of this file. Those that this page has sent are.
  async #isOfFile(item, signal) {
    const missing = new Set(item.missing);
    const unknown = range(0, Math.ceil(item.file.size / item.partBytes)).filter((number) => !missing.has(number) && !item.sent.has(number));
    if (!unknown.length) return true;
    this.#set(item, 'checking');
    const { digests } = await this.#insist(item, signal, () => this.#request('GET', `/${item.uploadId}/digests`, undefined, signal));
    for (const number of unknown) {
      const digest = await digestOf(await partOf(item.file, number, item.partBytes));
      signal.throwIfAborted();
      if (digest !== digests[number]) return false;
    }
    return true;
  }

  // Take over what the server says of an upload.
  #take(item, upload) {
    item.uploadId = upload.upload_id;
    item.partBytes = upload.part_bytes;
    item.storedBytes = upload.received_bytes;
    const stored = new Set(upload.received.flatMap(([first, last]) => range(first, last + 1)));
    item.missing = range(0, Math.ceil(item.file.size / item.partBytes)).filter((number) => !stored.has(number));
    item.samples = [];
  }

  async #sendParts(item, end) {
    const failure = new AbortController();
    const signal = AbortSignal.any([end, failure.signal]);
    const sender = async () => {
      while (item.missing.length) await this.#sendPart(item, item.missing.shift(), signal);
    };
    const senders = range(0, PARTS_AT_ONCE).map(sender);
    try {
      await Promise.all(senders);
    } catch (error) {
      // The other part is stopped, too.
      item.missing = [];
      failure.abort();
      await Promise.allSettled(senders);
      throw error;
    }
  }

  async #sendPart(item, number, signal) {
    const data = await partOf(item.file, number, item.partBytes);
    const digest = await digestOf(data);
    let damages = 0;
    let isRepeated = false;
    const send = async () => {
      // The part may have arrived, and only the answer was lost.
      const stored = isRepeated ? (await this.#upload(item, signal)).received : [];
      if (stored.some(([first, last]) => first <= number && number <= last)) return;
      isRepeated = true;
      const progress = (bytes) => {
        item.underway.set(number, Math.min(bytes, data.byteLength));
        this.#showProgress(item);
      };
      try {
        await putPart(`${this.#address}/${item.uploadId}/parts/${number}`, data, digest, signal, progress, this.#strings);
      } catch (error) {
        item.underway.delete(number);
        if (error.code === 'upload_damaged' && ++damages < MAX_DAMAGES) return send();
        // Another page may have completed it. Otherwise the file has changed since it was begun.
        if (error.code === 'upload_conflict' && (await this.#upload(item, signal)).status === 'done') return;
        throw error;
      }
    };
    await this.#insist(item, signal, send);
    item.underway.delete(number);
    item.sent.add(number);
    item.storedBytes += data.byteLength;
    this.#showProgress(item);
  }

  // What the server has of a file.
  #upload(item, signal) {
    return this.#request('GET', `/${item.uploadId}`, undefined, signal);
  }

  async #complete(item, signal, damages) {
    const document = item.options ? { options: item.options } : {};
    try {
      const end = await this.#insist(item, signal, () => this.#request('POST', `/${item.uploadId}/complete`, document, signal));
      Object.assign(item, { job: end.job, sha256: end.sha256, alreadyThere: end.already_there });
      this.#end(item, 'done');
    } catch (error) {
      if (!['upload_damaged', 'upload_incomplete'].includes(error.code) || damages >= MAX_DAMAGES) throw error;
      const upload = await this.#insist(item, signal, () => this.#upload(item, signal)).catch((reason) => {
        // Of a file that was damaged as a whole nothing stays, and its sentence says more.
        throw reason.status === 404 ? error : reason;
      });
      this.#take(item, upload);
    }
  }

  // Repeat an operation until the server is reached.
  async #insist(item, signal, operation) {
    const state = item.state;
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LAST_WAIT_MS)) {
      try {
        const result = await operation();
        if (item.sentence) this.#set(item, state === 'waiting' ? 'sending' : state);
        return result;
      } catch (error) {
        if (!(error instanceof LostConnection) || signal.aborted) throw error;
        item.samples = [];
        this.#set(item, 'waiting', this.#strings.lost);
        await pauseFor(waitMs, signal);
      }
    }
  }

  #request(method, path, document, signal) {
    return requestJson(method, this.#address + path, document, signal, this.#strings);
  }

  // -- what is shown --------------------------------------------------------------------------------------------------

  #set(item, state, sentence = '') {
    if (item.state === state && item.sentence === sentence) return;
    if (state !== 'sending') item.samples = [];
    item.state = state;
    item.sentence = sentence;
    this.#show(item);
  }

  #showProgress(item) {
    const now = performance.now();
    item.samples.push({ now, sent: sentOf(item) });
    while (item.samples.length > 2 && now - item.samples[0].now > SPEED_SPAN_MS) item.samples.shift();
    if (now - item.shownAt >= PROGRESS_PERIOD_MS) this.#show(item);
  }

  #show(item) {
    if (!this.#items.includes(item)) return;
    item.shownAt = performance.now();
    this.dispatchEvent(new CustomEvent('change', { detail: snapshot(item) }));
  }
}

// What a page shows of a file.
function snapshot(item) {
  const sent = sentOf(item);
  const speed = item.state === 'sending' ? speedOf(item.samples) : null;
  return {
    id: item.id, uploadId: item.uploadId, name: item.file.name, size: item.file.size, sent, speed,
    secondsLeft: speed ? (item.file.size - sent) / speed : null,
    state: item.state, sentence: item.sentence, job: item.job, sha256: item.sha256, alreadyThere: item.alreadyThere,
  };
}

function sentOf(item) {
  const underway = [...item.underway.values()].reduce((sum, bytes) => sum + bytes, 0);
  return Math.min(item.file.size, item.storedBytes + underway);
}

// Bytes per second of the last seconds; null while they are unknown.
function speedOf(samples) {
  const first = samples[0];
  const last = samples.at(-1);
  if (!first || last.now - first.now < PROGRESS_PERIOD_MS || last.sent <= first.sent) return null;
  return (1000 * (last.sent - first.sent)) / (last.now - first.now);
}

function isSameFile(one, other) {
  return one.name === other.name && one.size === other.size && one.lastModified === other.lastModified;
}

// All files of a list, of folders, or of what was dropped (a DataTransfer, which is read before this function waits for anything).
export async function filesOf(files) {
  const entries = files?.items ? [...files.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean) : [];
  const list = entries.length ? [] : [...(files?.files ?? files ?? [])];
  for (const entry of entries) list.push(...(await filesBelow(entry)));
  return list;
}

// All files of a dropped entry: of a folder, those below it in the order of their names. What cannot be read is left out.
async function filesBelow(entry) {
  if (entry.isFile) return new Promise((resolve) => entry.file((file) => resolve([file]), () => resolve([])));
  const reader = entry.createReader();
  const entries = [];
  // A call yields a hundred entries at most.
  for (let some; (some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])))).length; ) {
    entries.push(...some);
  }
  entries.sort((one, other) => one.name.localeCompare(other.name));
  const files = [];
  for (const inner of entries) files.push(...(await filesBelow(inner)));
  return files;
}

function range(start, end) {
  return Array.from({ length: Math.max(0, end - start) }, (_, index) => start + index);
}
