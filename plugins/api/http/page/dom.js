// Making elements, and words for what the schemas have as numbers.

// make('p', {class: 'none'}, 'Nothing'): attributes, then children. What is null is left out.
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

// Nanoseconds since 1970, as a number or as a text where a number would not be exact.
export function clockTime(ns) {
  return new Date(Number(ns) / 1e6).toLocaleTimeString([], { hour12: false });
}

export function ago(ns) {
  const seconds = Math.max(0, Math.round((Date.now() - Number(ns) / 1e6) / 1000));
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

export function taskName(task, nodes) {
  if (task.slot > 0) return `${task.service}.${task.slot}`;
  return `${task.service}.${nodes.get(task.node)?.description?.hostname ?? 'waiting'}`;
}

// How a task looks: its tone, and a sign for those who do not see colours.
const LOOKS = {
  running: ['good', ''], complete: ['over', '✓'], shutdown: ['over', '–'], remove: ['over', '–'],
  failed: ['bad', '×'], rejected: ['bad', '×'], orphaned: ['bad', '?'],
  new: ['waiting', '…'], pending: ['waiting', '…'],
};

export function lookOf(task) {
  if (task.state === 'running' && task.health === 'unhealthy') return { tone: 'bad', sign: '!', form: 'unwell' };
  if (task.state === 'running' && task.desired !== 'running') return { tone: 'over', sign: '', form: 'unwell' };
  const [tone, sign] = LOOKS[task.state] ?? ['moving', '›'];
  return { tone, sign, form: task.state };
}
