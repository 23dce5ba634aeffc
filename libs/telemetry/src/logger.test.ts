import { describe, expect, it } from 'vitest';
import { createLogger } from './logger.ts';

function capture(): { lines: () => Record<string, unknown>[]; write(line: string): void } {
  const written: string[] = [];
  return {
    write: (line) => void written.push(line),
    lines: () => written.map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}

describe('createLogger', () => {
  it('writes one JSON object a line with level, time, name, fields and message, and nothing of the machine', () => {
    const destination = capture();
    createLogger({ name: 'inference', level: 'info', destination }).info({ model: 'm' }, 'loaded');
    const [line] = destination.lines();
    expect(line).toEqual({
      level: 'info',
      time: expect.any(String),
      name: 'inference',
      model: 'm',
      msg: 'loaded',
    });
    expect(new Date(String(line?.['time'])).toISOString()).toBe(line?.['time']);
  });

  it('leaves out what is below its level', () => {
    const destination = capture();
    const logger = createLogger({ name: 'inference', level: 'warn', destination });
    logger.info('quiet');
    logger.warn('loud');
    expect(destination.lines().map((line) => line['msg'])).toEqual(['loud']);
  });
});
