import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Stream } from './stream.ts';
import { StreamTable } from './stream-table.ts';

/** The table reads these two properties alone. */
function streamOf(id: number): Stream {
  return { id, closed: false } as Stream;
}

test('holds what a Map would hold after any adding and deleting', () => {
  // Few ids far apart and many close together: both collide in a small table.
  const anyId = fc
    .oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 2 ** 30 - 1 }))
    .map((n) => 2 * n + 1);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), anyId), { maxLength: 300 }), (steps) => {
      const table = new StreamTable();
      const model = new Map<number, Stream>();
      for (const [adds, id] of steps) {
        if (adds && !model.has(id)) {
          const stream = streamOf(id);
          model.set(id, stream);
          table.add(stream);
        } else if (!adds) {
          model.delete(id);
          table.delete(id);
        }
        expect(table.size).toBe(model.size);
        expect(table.get(id)).toBe(model.get(id));
      }
      for (const [id, stream] of model) expect(table.get(id)).toBe(stream);
      expect(new Set(table.values())).toEqual(new Set(model.values()));
    }),
    { numRuns: 300 },
  );
});

test('walking over the streams leaves out those that close on the way', () => {
  const table = new StreamTable();
  const streams = [1, 3, 5, 7].map(streamOf);
  for (const stream of streams) table.add(stream);
  const seen: number[] = [];
  for (const stream of table.values()) {
    seen.push(stream.id);
    for (const other of streams) {
      other.closed = true;
      table.delete(other.id);
    }
  }
  expect(seen).toHaveLength(1);
  expect(table.size).toBe(0);
});
