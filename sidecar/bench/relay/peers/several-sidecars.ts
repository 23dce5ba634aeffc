/** Several sidecars behind one port: several-sidecars.ts MAIN COUNT [argument…]. The first to end takes the others with it. */
import cluster from 'node:cluster';

const [main = '', count = '2', ...args] = process.argv.slice(2);
cluster.setupPrimary({ exec: main, args });
for (let started = 0; started < Number(count); started++) cluster.fork();

const end = (code: number): void => {
  for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGKILL');
  process.exit(code);
};
cluster.on('exit', () => end(1));
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => end(0));
