// Nodes with their tasks as tiles. The grid keeps the focus; the active cell is told by
// aria-activedescendant, so that cells may come and go as the grid scrolls.
import { byId, lookOf, make, taskName } from './dom.js';
import { VirtualList } from './virtual-list.js';

const GAP = 3;
const NODE_HEIGHT = 30;
const MARGIN = 8;
const LEGEND = [['running', 'running'], ['starting', 'on its way'], ['pending', 'waits for a node'],
  ['failed', 'failed'], ['complete', 'done'], ['shutdown', 'stopped']];

export class NodesView {
  // `open({node})`, `open({task})`
  constructor(open) {
    this.open = open;
    this.grid = byId('tiles');
    this.active = { key: null, row: 0, column: 0 };
    this.list = new VirtualList(this.grid, {
      heightOf: (row) => this.heightOf(row),
      render: (row, index) => this.render(row, index),
      empty: 'No node and no task matches.',
    });
    this.grid.addEventListener('keydown', (event) => this.onKey(event));
    this.grid.addEventListener('click', (event) => {
      const cell = event.target.closest('[data-cell]');
      if (cell === null) return;
      const [row, column] = cell.dataset.cell.split(' ').map(Number);
      this.moveTo(row, column);
      this.openActive();
    });
    new ResizeObserver(() => this.layOut()).observe(this.grid);
    for (const [state, words] of LEGEND) {
      const look = lookOf({ state, desired: 'running' });
      byId('legend').append(make('li', {},
        make('span', { class: `tile ${look.tone} ${look.form}`, 'aria-hidden': 'true' }, look.sign), words));
    }
  }

  get tile() {
    return parseFloat(getComputedStyle(document.documentElement).getPropertyValue('--tile')) + GAP;
  }

  heightOf(row) {
    if (row.node !== undefined) return NODE_HEIGHT;
    return row.last ? this.tileSize + MARGIN : this.tileSize;
  }

  show(nodes, tasks) {
    this.nodes = nodes;
    this.tasks = tasks;
    this.layOut();
  }

  layOut() {
    if (this.nodes === undefined || this.grid.clientWidth === 0) return;
    this.tileSize = this.tile;
    const columns = Math.max(1, Math.floor((this.grid.clientWidth - 26) / this.tileSize));
    const byNode = Map.groupBy ? Map.groupBy(this.tasks, (task) => task.node) : grouped(this.tasks);
    const rows = [];
    const add = (node, own) => {
      rows.push({ node, count: own.length });
      for (let i = 0; i < own.length; i += columns) {
        rows.push({ tasks: own.slice(i, i + columns), last: i + columns >= own.length });
      }
    };
    if (byNode.has('')) add(null, byNode.get(''));
    for (const node of this.nodes.values()) {
      const own = byNode.get(node.meta.id) ?? [];
      if (own.length > 0 || node.matches) add(node, own);
    }
    this.columns = columns;
    this.list.set(rows);
    this.grid.setAttribute('aria-rowcount', rows.length);
    this.findActive();
  }

  keyOf(row, column) {
    const found = this.list.items[row];
    if (found === undefined) return null;
    return found.tasks === undefined ? `node ${found.node?.meta.id ?? ''}` : found.tasks[column]?.id ?? null;
  }

  // Where the active one is now; it may have gone.
  findActive() {
    const { key } = this.active;
    if (key === null || this.keyOf(this.active.row, this.active.column) === key) return;
    for (let row = 0; row < this.list.items.length; ++row) {
      const width = this.list.items[row].tasks?.length ?? 1;
      for (let column = 0; column < width; ++column) {
        if (this.keyOf(row, column) !== key) continue;
        Object.assign(this.active, { row, column });
        return;
      }
    }
    this.active = { key: null, row: 0, column: 0 };
    this.grid.removeAttribute('aria-activedescendant');
  }

  render(row, index) {
    if (row.tasks === undefined) return this.renderNode(row, index);
    const element = make('div', { class: 'tiles', role: 'row', 'aria-rowindex': index + 1 });
    row.tasks.forEach((task, column) => {
      const look = lookOf(task);
      const name = taskName(task, this.nodes);
      const health = task.health === undefined ? '' : `, ${task.health}`;
      const where = task.node === '' ? 'has no node' : `on ${this.nodes.get(task.node)?.description.hostname ?? 'a node that is gone'}`;
      const cell = make('span', {
        class: `tile ${look.tone} ${look.form}`, role: 'gridcell', id: `cell-${task.id}`, 'data-cell': `${index} ${column}`,
        'aria-label': `${name}, ${task.state}${health}, ${where}`, title: `${name}: ${task.message ?? task.state}`,
      }, look.sign);
      if (task.id === this.active.key) cell.classList.add('active');
      element.append(cell);
    });
    return element;
  }

  renderNode({ node, count }, index) {
    const id = node?.meta.id ?? '';
    const name = node?.description.hostname ?? 'No node';
    const words = node === null ? 'waiting for a node' : nodeWords(node);
    const tasks = `${count} ${count === 1 ? 'task' : 'tasks'}`;
    const cell = make('div', { class: 'node', role: 'gridcell', id: `cell-node-${id}`, 'data-cell': `${index} 0`, 'aria-label': `${name}: ${words}, ${tasks}` },
      make('b', {}, name),
      make('span', { class: node !== null && node.state !== 'ready' ? 'state-bad' : null }, words),
      make('span', {}, tasks));
    if (this.active.key === `node ${id}`) cell.classList.add('active');
    return make('div', { role: 'row', 'aria-rowindex': index + 1 }, cell);
  }

  moveTo(row, column) {
    const rows = this.list.items;
    if (rows.length === 0) return;
    row = Math.min(Math.max(row, 0), rows.length - 1);
    column = Math.min(Math.max(column, 0), (rows[row].tasks?.length ?? 1) - 1);
    this.grid.querySelector('.active')?.classList.remove('active');
    this.active = { key: this.keyOf(row, column), row, column };
    const element = this.list.reveal(row).querySelectorAll('[data-cell]')[column];
    element.classList.add('active');
    this.grid.setAttribute('aria-activedescendant', element.id);
  }

  openActive() {
    const { key } = this.active;
    if (key === null) return;
    if (!key.startsWith('node ')) this.open({ task: key });
    else if (key !== 'node ') this.open({ node: key.slice(5) });
  }

  onKey(event) {
    const { row, column, key } = this.active;
    const width = this.list.items[row]?.tasks?.length ?? 1;
    const page = Math.max(1, Math.floor(this.grid.clientHeight / this.tileSize) - 1);
    const moves = {
      ArrowRight: () => (column + 1 < width ? [row, column + 1] : [row + 1, 0]),
      ArrowLeft: () => (column > 0 ? [row, column - 1] : [row - 1, Infinity]),
      ArrowDown: () => [row + 1, column], ArrowUp: () => [row - 1, column],
      PageDown: () => [row + page, column], PageUp: () => [row - page, column],
      Home: () => [0, 0], End: () => [Infinity, Infinity],
    };
    if (event.key === 'Enter' || event.key === ' ') this.openActive();
    else if (moves[event.key] === undefined || event.altKey || event.metaKey) return;
    else this.moveTo(...(key === null && event.key.startsWith('Arrow') ? [0, 0] : moves[event.key]()));
    event.preventDefault();
  }
}

function nodeWords(node) {
  const words = [node.state];
  if (node.availability !== 'active') words.push(node.availability);
  if (node.leader) words.push('leads');
  else if (node.role === 'manager') words.push('manager');
  if (node.message) words.push(node.message);
  return words.join(', ');
}

function grouped(tasks) {
  const found = new Map();
  for (const task of tasks) {
    if (!found.has(task.node)) found.set(task.node, []);
    found.get(task.node).push(task);
  }
  return found;
}
