// Runs every benchmark in turn; each prints what it measured beside its baseline or target.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import pc from 'picocolors';

const root = fileURLToPath(new URL('../../../..', import.meta.url));

const benches: readonly { readonly question: string; readonly file: string }[] = [
  { question: 'What does a sidecar hop cost a caller?', file: 'sidecar/bench/hop-latency.ts' },
  {
    question: 'What do concurrent generations gain?',
    file: 'services/inference/bench/batching.ts',
  },
  { question: 'What does batching of embeddings gain?', file: 'services/embeddings/bench/batching.ts' },
  {
    question: 'How soon is the mesh ready, and how large are its processes?',
    file: 'libs/local-mesh/bench/start-and-memory.ts',
  },
];

let failed = 0;
for (const { question, file } of benches) {
  console.log(pc.bold(`\n${question}`) + pc.dim(`  ${file}`));
  const { status } = spawnSync(process.execPath, [file], { cwd: root, stdio: 'inherit' });
  if (status !== 0) failed += 1;
}
process.exit(failed === 0 ? 0 : 1);
