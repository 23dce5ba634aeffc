import { fileURLToPath } from 'node:url';
import pc from 'picocolors';
import { steps } from './steps.ts';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const total = { passed: 0, failed: 0, notRun: 0 };

for (const step of steps) {
  const startedMs = Date.now();
  const tally = await step.run(root);
  const took = pc.dim(`${((Date.now() - startedMs) / 1000).toFixed(1)} s`);
  console.log(`${tally.failed === 0 ? pc.green('✓') : pc.red('✗')} ${step.title} ${took}`);
  total.passed += tally.passed;
  total.failed += tally.failed;
  total.notRun += tally.notRun;
}

const notRun = total.notRun > 0 ? `, ${total.notRun} skipped` : '';
console.log(`${total.passed} passed, ${total.failed} failed${notRun}`);
process.exit(total.failed === 0 ? 0 : 1);
