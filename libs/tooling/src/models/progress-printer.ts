import type { ModelProgress } from './ensure-models.ts';

const BAR_CELLS = 24;

/** Where progress is shown: process.stderr, say. */
export interface ProgressOutput {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** Shows a bar that redraws itself on a terminal, one line per step elsewhere; files already there show nothing. */
export function progressPrinter(output: ProgressOutput): (progress: ModelProgress) => void {
  const shown = new Set<string>();
  return (progress) => {
    const name = `${progress.model}/${progress.file}`;
    const begun = shown.has(name);
    if (progress.step === 'ready') {
      if (begun) output.write(`${output.isTTY ? '\r\x1b[K' : ''}  ${name} is ready\n`);
      return;
    }
    shown.add(name);
    const line = progress.step === 'verifying' ? `  verifying ${name}` : `  fetching ${name}`;
    if (!output.isTTY) {
      if (!begun) output.write(`${line}${sizeOf(progress)}\n`);
      return;
    }
    output.write(`\r\x1b[K${line}${barOf(progress)}`);
  };
}

function sizeOf({ bytesTotal }: ModelProgress): string {
  return bytesTotal === undefined ? '' : ` (${megabytes(bytesTotal)} MB)`;
}

function barOf({ bytes, bytesTotal }: ModelProgress): string {
  if (bytes === undefined || bytesTotal === undefined) return '';
  const filled = Math.round((BAR_CELLS * Math.min(bytes, bytesTotal)) / bytesTotal);
  return ` [${'='.repeat(filled)}${' '.repeat(BAR_CELLS - filled)}] ${megabytes(bytes)} of ${megabytes(bytesTotal)} MB`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
