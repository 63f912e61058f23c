// Digests of files that are sent to the server: of a part, and of what tells a file from another one that looks the same.

// The beginning and the end of a file that tell it from another one of the same name, size and time of change.
const FINGERPRINT_BYTES = 1 << 20;

// Return the SHA-256 of bytes in base64.
export async function digestOf(data) {
  return btoa(String.fromCharCode(...new Uint8Array(await crypto.subtle.digest('SHA-256', data))));
}

// Return the bytes of a part of a file.
export function partOf(file, number, partBytes) {
  return file.slice(number * partBytes, (number + 1) * partBytes).arrayBuffer();
}

export async function fingerprintOf(file) {
  const parts = [file.slice(0, FINGERPRINT_BYTES), file.slice(Math.max(0, file.size - FINGERPRINT_BYTES)), String(file.size)];
  const digest = await crypto.subtle.digest('SHA-256', await new Blob(parts).arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
