// Services in rows, with how far each has come.
import { byId, make } from './dom.js';
import { VirtualList } from './virtual-list.js';

const UPDATES = {
  updating: 'is updated', paused: 'update paused', completed: '', none: '',
  rollbackStarted: 'rolls back', rollbackPaused: 'rollback paused', rollbackCompleted: 'rolled back',
};

export function portsText(ports) {
  return (ports ?? []).map((port) => `${port.published}→${port.target}${port.protocol === 'udp' ? '/udp' : ''}`).join(' ');
}

export class ServicesView {
  constructor(open) {
    this.open = open;
    this.grid = byId('service-rows');
    this.activeId = null;
    this.list = new VirtualList(this.grid, {
      heightOf: () => 38, render: (service, index) => this.render(service, index), empty: 'No service matches.',
    });
    this.grid.addEventListener('click', (event) => {
      const row = event.target.closest('[data-index]');
      if (row === null) return;
      this.moveTo(Number(row.dataset.index));
      this.open({ service: this.activeId });
    });
    this.grid.addEventListener('keydown', (event) => this.onKey(event));
  }

  show(services) {
    this.list.set(services);
    this.grid.setAttribute('aria-rowcount', services.length);
    if (!services.some((service) => service.id === this.activeId)) this.grid.removeAttribute('aria-activedescendant');
  }

  render(service, index) {
    const job = service.total > 0;
    const [done, all] = job ? [service.completed, service.total] : [service.running, service.desired];
    const update = UPDATES[service.updateState] ?? service.updateState;
    const words = update !== '' ? update : portsText(service.ports);
    const lacking = done >= all ? '' : done === 0 ? ' lacking all' : ' lacking';
    const bar = make('progress', { max: Math.max(all, 1), value: Math.min(done, all), 'aria-hidden': 'true' });
    if (done < all) bar.className = 'short';
    const row = make('div', { class: 'service', role: 'row', id: `service-${service.id}`, 'data-index': index, 'aria-rowindex': index + 1 },
      make('b', { role: 'gridcell', title: service.name }, service.name),
      make('span', { role: 'gridcell', class: 'image', title: service.image }, service.image),
      make('span', { role: 'gridcell', class: `count${lacking}`, title: service.mode },
        `${done}/${all}`, make('span', { class: 'hidden' }, job ? ' completed' : ' running')),
      make('span', { role: 'gridcell', class: 'more', title: `${update} ${portsText(service.ports)}` },
        words !== '' ? make('span', {}, words) : null, bar));
    if (service.id === this.activeId) row.classList.add('active');
    return row;
  }

  moveTo(index) {
    const { items } = this.list;
    if (items.length === 0) return;
    index = Math.min(Math.max(index, 0), items.length - 1);
    this.grid.querySelector('.active')?.classList.remove('active');
    this.activeId = items[index].id;
    const row = this.list.reveal(index);
    row.classList.add('active');
    this.grid.setAttribute('aria-activedescendant', row.id);
  }

  onKey(event) {
    const { items } = this.list;
    const now = items.findIndex((service) => service.id === this.activeId);
    const page = Math.max(1, Math.floor(this.grid.clientHeight / 38) - 1);
    const moves = { ArrowDown: now + 1, ArrowUp: now - 1, PageDown: now + page, PageUp: now - page, Home: 0, End: items.length };
    if (event.key === 'Enter' || event.key === ' ') {
      if (now >= 0) this.open({ service: this.activeId });
    } else if (moves[event.key] !== undefined) {
      this.moveTo(moves[event.key]);
    } else {
      return;
    }
    event.preventDefault();
  }
}
