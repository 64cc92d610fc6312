// One task, service or node by itself, with a task's log as it is written.
import { ago, byId, clockTime, make, taskName } from './dom.js';
import { get, lines } from './feed.js';
import { portsText } from './services.js';
import { VirtualList } from './virtual-list.js';

const MAX_LINES = 5000;
const MAX_NAMES = 20;
const WAITS = new Set(['new', 'pending']);

function facts(pairs) {
  const list = make('dl');
  for (const [term, text] of pairs) {
    if (text !== '' && text !== null && text !== undefined) list.append(make('dt', {}, term), make('dd', {}, text));
  }
  return list;
}

const says = (text) => (text ? make('p', { class: 'says' }, text) : null);

export class Details {
  constructor(nodes) {
    this.nodes = nodes;  // a function: Map of id -> node
    this.panel = byId('details');
    this.body = byId('details-body');
    this.shown = null;
    byId('details-close').addEventListener('click', () => this.close());
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && !this.panel.hidden && !byId('login').open) this.close();
    });
  }

  async open(what) {
    this.stop?.abort();
    this.stop = new AbortController();
    this.shown = what;
    this.hasLog = what.service !== undefined;
    if (this.panel.hidden) this.before = document.activeElement;
    this.panel.hidden = false;
    byId('details-title').textContent = '…';
    this.top = make('div');
    this.body.replaceChildren(this.top);
    await this.refresh();
    if (this.shown === what) byId('details-title').focus();
    if (this.shown === what && this.hasLog) this.follow(what);
  }

  close() {
    this.stop?.abort();
    this.shown = null;
    this.panel.hidden = true;
    this.before?.focus();
  }

  // Asks again, as things go on.
  async refresh() {
    const what = this.shown;
    if (what === null) return;
    try {
      const [title, parts] = await (what.task ? this.task(what.task) : what.service ? this.service(what.service) : this.node(what.node));
      if (this.shown !== what) return;
      byId('details-title').textContent = title;
      this.top.replaceChildren(...parts.filter((part) => part !== null));
    } catch (error) {
      if (this.shown === what) this.top.replaceChildren(says(error.message));
    }
  }

  async task(id) {
    const task = await get(`/v1/tasks/${id}`);
    const { status } = task;
    const row = { slot: task.slot, service: task.serviceName, node: task.nodeId };
    const container = status.container ?? {};
    const parts = [
      facts([
        ['State', `${status.state}${task.desired !== status.state ? `, should be ${task.desired}` : ''}`],
        ['Since', status.atNs ? `${clockTime(status.atNs)}, ${ago(status.atNs)}` : ''],
        ['Health', container.health && container.health !== 'none' ? container.health : ''],
        ['Node', this.nodes().get(task.nodeId)?.description.hostname ?? task.nodeId],
        ['Image', task.spec.container.image],
        ['Addresses', (status.addresses ?? []).join(', ')],
        ['Ports', portsText(status.hostPorts)],
        ['Exit status', status.endedAtNs > 0 || container.exitCode ? String(container.exitCode ?? '') : ''],
        ['Restarts before', task.restarts > 0 ? String(task.restarts) : ''],
        ['Says', status.message],
        ['Id', id],
      ]),
      says(status.error), says(container.healthOutput),
    ];
    this.hasLog = !WAITS.has(status.state);
    if (!this.hasLog) parts.push(...await this.why(id, status.error));
    return [taskName(row, this.nodes()), parts];
  }

  // `told`: what is said already.
  async why(id, told) {
    const placing = await get(`/v1/tasks/${id}/why`);
    // Many nodes are kept from it by the same.
    const groups = new Map();
    for (const node of placing.nodes ?? []) {
      const key = (node.obstacles ?? []).join('\n');
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(node);
    }
    const list = make('ul', { class: 'plain' });
    for (const nodes of groups.values()) {
      const names = nodes.slice(0, MAX_NAMES).map(({ node }) => node).join(', ');
      const more = nodes.length > MAX_NAMES ? ` and ${nodes.length - MAX_NAMES} more` : '';
      const item = make('li', {}, make('b', {}, names + more));
      (nodes[0].obstacles ?? []).forEach((obstacle, i) => {
        const remedy = nodes[0].remedies?.[i];
        item.append(make('div', {}, obstacle), remedy ? make('div', { class: 'remedy' }, remedy) : '');
      });
      if (!nodes[0].obstacles?.length) item.append(make('div', {}, 'nothing keeps it from there'));
      list.append(item);
    }
    if (list.children.length === 0) list.append(make('li', {}, 'There is no node.'));
    return [make('h3', {}, 'Why it waits'), placing.message && placing.message !== told ? make('p', {}, placing.message) : null, list];
  }

  async service(id) {
    const [service, progress] = await Promise.all([get(`/v1/services/${id}`), get(`/v1/services/${id}/progress`)]);
    const { spec, update } = service;
    const done = progress.job ? progress.completed : progress.updated;
    const bar = make('progress', { max: Math.max(progress.desired, 1), value: done, 'aria-label': 'Rollout' });
    if (done < progress.desired) bar.className = 'short';
    return [spec.name, [
      facts([
        ['Is', progress.verdict],
        [progress.job ? 'Completed' : 'Run the newest spec', `${done} of ${progress.desired}`],
        ['Update', update && update.state !== 'none' ? `${update.state}: ${update.message ?? ''}` : ''],
        ['Image', spec.task.container.image],
        ['Ports', portsText(service.ports)],
        ['Spec since', service.specAtNs > 0 ? ago(service.specAtNs) : ''],
        ['Id', service.meta.id],
      ]),
      bar, says(progress.problem), ...(progress.unanswered ?? []).map(says),
    ]];
  }

  async node(id) {
    const node = await get(`/v1/nodes/${id}`);
    const { description } = node;
    return [description.hostname, [
      facts([
        ['State', `${node.state}${node.message ? `: ${node.message}` : ''}`],
        ['Availability', node.availability],
        ['Role', node.leader ? `${node.role}, leads` : node.role],
        ['Address', node.address],
        ['Cores', String(Number(description.cpuNanos) / 1e9)],
        ['Memory', `${(Number(description.memoryBytes) / 2 ** 30).toFixed(1)} GiB`],
        ['orch', description.engineVersion],
        ['Plugins', (description.plugins ?? []).join(', ')],
        ['Labels', (node.labels ?? []).map(({ key, value }) => `${key}=${value}`).join(', ')],
        ['Id', id],
      ]),
      ...(node.problems ?? []).map(says),
    ]];
  }

  async follow(what) {
    const { signal } = this.stop;
    const scroller = make('div', { class: 'scroller log', role: 'log', 'aria-live': 'off', tabindex: '0', 'aria-label': 'Log' });
    this.body.append(make('h3', {}, 'Log'), scroller);
    const list = new VirtualList(scroller, {
      heightOf: () => 18,
      render: (line) => make('div', { class: `line ${line.stream}`, title: line.time }, what.service ? `${line.name} | ${line.text}` : line.text),
      empty: 'Nothing was written yet.',
    });
    list.set([]);
    let all = [];
    const path = what.task ? `/v1/tasks/${what.task}` : `/v1/services/${what.service}`;
    try {
      await lines(`${path}/logs?follow=1&tail=500`, signal, (fresh) => {
        const stays = list.atEnd;
        for (const line of fresh) line.name = line.taskName.replace(`.${line.taskId}`, '');
        all = all.concat(fresh).slice(-MAX_LINES);
        list.set(all);
        if (stays) list.toEnd();
      });
    } catch (error) {
      if (!signal.aborted) this.body.append(says(error.message));
    }
  }
}
