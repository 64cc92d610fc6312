// What is known of the cluster, asked again as soon as it has changed.
import { byId, clockTime, make, taskName } from './dom.js';
import { events, get } from './feed.js';
import { Details } from './details.js';
import { NodesView } from './nodes.js';
import { ServicesView } from './services.js';
import { VirtualList } from './virtual-list.js';

const TURN_MS = 1000;
const NODES_MS = 5000;  // who is alive is in no revision
const MAX_EVENTS = 2000;
const known = { info: null, nodes: new Map(), services: [], tasks: [], asked: '', atMs: 0 };

const details = new Details(() => known.nodes);
const nodesView = new NodesView((what) => details.open(what));
const servicesView = new ServicesView((what) => details.open(what));

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const visible = () => new Promise((resolve) => {
  if (!document.hidden) resolve();
  else document.addEventListener('visibilitychange', () => resolve(), { once: true });
});

function trouble(text) {
  byId('trouble').hidden = text === '';
  if (byId('trouble').textContent !== text) byId('trouble').textContent = text;
}

function show() {
  const words = byId('filter').value.toLowerCase().split(/\s+/).filter((word) => word !== '');
  const matches = (text) => words.every((word) => text.includes(word));
  const hosts = new Map();
  for (const node of known.nodes.values()) {
    const text = `${node.description.hostname} ${node.state} ${node.availability} ${node.role}`.toLowerCase();
    hosts.set(node.meta.id, text);
    node.matches = matches(text);
  }
  const tasks = words.length === 0 ? known.tasks : known.tasks.filter((task) =>
    matches(`${taskName(task, known.nodes)} ${task.state} ${task.health ?? ''} ${hosts.get(task.node) ?? ''}`.toLowerCase()));
  nodesView.show(known.nodes, tasks);
  const services = new Set(tasks.map((task) => task.service));
  servicesView.show(words.length === 0 ? known.services : known.services.filter((service) =>
    services.has(service.name) || matches(`${service.name} ${service.image}`.toLowerCase())));
}

function summarize() {
  const count = (list, test) => list.reduce((sum, one) => sum + (test(one) ? 1 : 0), 0);
  const nodes = [...known.nodes.values()];
  const ready = count(nodes, (node) => node.state === 'ready');
  const running = count(known.tasks, (task) => task.state === 'running');
  const waiting = count(known.tasks, (task) => task.state === 'pending');
  const leader = nodes.find((node) => node.leader)?.description.hostname;
  byId('cluster').textContent = known.info?.cluster?.name ?? '';
  byId('summary').textContent = [
    `${ready} of ${nodes.length} nodes ready`, `${known.services.length} services`, `${running} tasks run`,
    waiting > 0 ? `${waiting} wait` : '', leader ? `${leader} leads` : 'nobody leads',
  ].filter((text) => text !== '').join(' · ');
}

async function turn() {
  known.info = await get('/v1/info');
  const ended = byId('ended').checked ? '1' : '0';
  const asked = `${known.info.epoch} ${known.info.revision} ${ended}`;
  const changed = asked !== known.asked;
  if (!changed && Date.now() - known.atMs < NODES_MS) return;
  const [nodes, services, tasks] = await Promise.all([
    get('/v1/nodes'), changed ? get('/v1/services') : known.services,
    changed ? get(`/v1/tasks?rows=1&ended=${ended}`) : known.tasks,
  ]);
  nodes.sort((a, b) => a.description.hostname.localeCompare(b.description.hostname, undefined, { numeric: true }));
  Object.assign(known, { nodes: new Map(nodes.map((node) => [node.meta.id, node])), services, tasks, asked, atMs: Date.now() });
  summarize();
  show();
  if (changed) await details.refresh();
}

async function keepUp() {
  for (;;) {
    await visible();
    const begun = Date.now();
    try {
      await turn();
      trouble('');
    } catch (error) {
      trouble(error instanceof TypeError ? `The node does not answer (${error.message}); trying again.` : error.message);
    }
    // A large cluster is asked less often.
    await wait(Math.max(TURN_MS, 4 * (Date.now() - begun)));
  }
}

async function keepEvents() {
  const list = new VirtualList(byId('event-rows'), {
    heightOf: () => 24,
    render: ({ event, lagged }) => {
      if (lagged) return make('div', { class: 'event', role: 'listitem' }, `${lagged} events were left out`);
      const attributes = (event.attributes ?? []).filter(({ value }) => value);
      const text = (some) => some.map(({ key, value }) => `${key}=${value}`).join(' ');
      const told = text(attributes.filter(({ key }) => !key.endsWith('Id')));
      return make('div', { class: 'event', role: 'listitem', title: `${event.subject ?? ''} ${text(attributes)}` },
        make('time', {}, clockTime(event.timeNs)), make('b', {}, event.topic), make('span', {}, told || (event.subject ?? '')));
    },
    empty: 'Nothing has happened lately.',
  });
  list.set([]);
  let all = [];
  let lastId = '';
  for (;;) {
    await visible();
    try {
      byId('events-state').textContent = '';
      await events('/v1/events?since=1h', lastId, undefined, (found) => {
        lastId = found.findLast((one) => one.id)?.id ?? lastId;
        all = found.reverse().concat(all).slice(0, MAX_EVENTS);
        list.set(all);
      });
    } catch {
      // Said by the status below.
    }
    byId('events-state').textContent = '— cut off, trying again';
    await wait(2000);
  }
}

let typing = 0;
byId('filter').addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(show, 100);
});
byId('ended').addEventListener('change', () => { known.asked = ''; });
keepUp();
keepEvents();
