import pc from 'picocolors';

export type Colors = ReturnType<typeof pc.createColors>;

/** Where a command shows what it does. */
export type Screen = {
  readonly colors: Colors;
  /** Columns; 100 where the output is no terminal. */
  readonly width: number;
  write(text: string): void;
  /** Writes a line. */
  line(text?: string): void;
};

export type ScreenOutput = {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
};

const WIDTH_WITHOUT_TERMINAL = 100;

export function createScreen(output: ScreenOutput): Screen {
  return {
    colors: pc.createColors(output.isTTY === true && pc.isColorSupported),
    width: output.columns ?? WIDTH_WITHOUT_TERMINAL,
    write: (text) => void output.write(text),
    line: (text = '') => void output.write(`${text}\n`),
  };
}

/** A duration in three digits: `0.42 ms`, `12.3 ms`, `481 ms`, `2.13 s`. */
export function formatMs(ms: number): string {
  if (ms >= 9_999.5) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 999.5) return `${(ms / 1000).toFixed(2)} s`;
  if (ms >= 99.95) return `${ms.toFixed(0)} ms`;
  return `${ms.toFixed(ms >= 9.995 ? 1 : 2)} ms`;
}
