// Asking the node: JSON, and streams that go on.

let askForToken = null;  // a promise of the token, while the user is asked

function token() {
  return sessionStorage.getItem('orch-token');
}

function login() {
  askForToken ??= new Promise((resolve) => {
    const dialog = document.getElementById('login');
    const field = document.getElementById('token');
    field.value = '';
    dialog.addEventListener('close', () => {
      if (field.value !== '') sessionStorage.setItem('orch-token', field.value.trim());
      askForToken = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return askForToken;
}

async function request(path, options = {}) {
  for (;;) {
    const used = token();
    const headers = { ...options.headers };
    if (used !== null) headers.Authorization = `Bearer ${used}`;
    const response = await fetch(path, { ...options, headers, cache: 'no-store' });
    if (response.status === 401 || response.status === 403) {
      if (token() === used) sessionStorage.removeItem('orch-token');
      await login();
      continue;
    }
    if (response.ok) return response;
    let why = `status ${response.status}`;
    try {
      why = (await response.json()).error ?? why;
    } catch {
      // It was no JSON: another server stands between.
    }
    throw new Error(why);
  }
}

export async function get(path) {
  return (await request(path)).json();
}

// Calls `take` with each part of a text that `separator` ends, until the stream ends.
async function split(response, separator, take) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(separator);
    rest = parts.pop();
    take(parts);
  }
}

// Lines of JSON, in batches.
export async function lines(path, signal, take) {
  const response = await request(path, { signal });
  await split(response, '\n', (parts) => take(parts.map((part) => JSON.parse(part))));
}

// Server-sent events, in batches, with the id of the last one. By fetch, since EventSource cannot
// send a token.
export async function events(path, lastId, signal, take) {
  const headers = { Accept: 'text/event-stream' };
  if (lastId !== '') headers['Last-Event-ID'] = lastId;
  const response = await request(path, { signal, headers });
  await split(response, '\n\n', (parts) => {
    const found = [];
    for (const part of parts) {
      const fields = {};
      for (const line of part.split('\n')) {
        const colon = line.indexOf(': ');
        if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
      }
      if (fields.event === 'lagged') found.push({ lagged: Number(fields.data) });
      else if (fields.data !== undefined) found.push({ id: fields.id, event: JSON.parse(fields.data) });
    }
    if (found.length > 0) take(found);
  });
}
