// Fetches the pinned models: `node libs/tooling/src/models/main.ts [--verify]`.
import { ensureModels, ModelUnavailable } from './ensure-models.ts';
import { progressPrinter } from './progress-printer.ts';

try {
  await ensureModels({
    env: process.env,
    onProgress: progressPrinter(process.stderr),
    verify: process.argv.includes('--verify'),
  });
} catch (error) {
  if (!(error instanceof ModelUnavailable)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
