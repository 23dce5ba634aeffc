import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { promisify } from 'node:util';
import { type Component, writeDocument } from './sbom.ts';

const STEP_MS_MAX = 300_000;
/** What Node's own binary is linked with. */
const NODE_NEEDS = ['libstdc++6', 'libatomic1'];
/** Python and pip, which fetch wheels; pip is run from its own archive. */
const PYTHON_NEEDS = ['libpython3-stdlib', 'python3-minimal', 'python3-pip-whl'];
/** What only installs or configures packages, or makes a terminal: nothing here is installed. */
const NOT_RUN =
  /^(dpkg|tar|debconf|openssl|ca-certificates|readline-common|libreadline8|libncursesw6|libtinfo6|libacl1|libselinux1|libpcre2-8-0|libmd0|libzstd1)$/;
/** What of the packages is not run: text in other encodings is Node's own business, and nobody debugs in an image. */
const NOT_KEPT = ['gconv', 'audit', 'gdb', 'lintian', 'man', 'locale', 'gcc', 'bug', 'doc-base'];
const FOLDERS = { bin: 'usr/bin', lib: 'usr/lib', lib64: 'usr/lib64', sbin: 'usr/sbin' } as const;

/**
 * Writes a root file system with Node and the libraries that it is linked with, and nothing else: no shell, no package
 * manager. Libraries come from the packages of the
 * Debian, or Ubuntu, that this runs on, whose signatures apt checks; Node is the one that the lockfile pins.
 * @param out gets `root`, and `sbom` with a list of what is in it
 */
export async function packBase(
  root: string,
  out: string,
  { python }: { readonly python: boolean },
): Promise<void> {
  const tree = join(out, 'root');
  const downloads = await mkdtemp(join(tmpdir(), 'gatehouse-base-'));
  try {
    for (const [link, target] of Object.entries(FOLDERS)) {
      await mkdir(join(tree, target), { recursive: true });
      await symlink(target, join(tree, link));
    }
    const distribution = /^ID=(\w+)$/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1] ?? 'debian';
    await download([...NODE_NEEDS, ...(python ? PYTHON_NEEDS : [])], downloads);
    const components: Component[] = [];
    for (const file of (await readdir(downloads)).filter((name) => name.endsWith('.deb')).sort())
      components.push(await unpack(join(downloads, file), { tree, distribution }));
    await removeWhatIsNotRun(tree);
    if (python) await preparePython(tree);
    components.push(await addNode(root, tree));
    await writeSettings(tree);
    const component = { type: 'container', name: python ? 'gatehouse-python-base' : 'gatehouse-base' };
    await writeDocument(join(out, 'sbom/base.cdx.json'), { component, components, dependencies: [] });
  } finally {
    await rm(downloads, { recursive: true, force: true });
  }
}

async function run(cwd: string, command: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(command, args, { cwd, timeout: STEP_MS_MAX });
  return stdout;
}

/** Downloads packages with all that they depend on, as if on a machine that has none. */
async function download(wanted: readonly string[], folder: string): Promise<void> {
  const resolve = (): Promise<string> => {
    const asIfEmpty = ['-o', 'Dir::State::status=/dev/null', '--no-install-recommends'];
    return run(folder, 'apt-get', [...asIfEmpty, '--simulate', 'install', ...wanted]);
  };
  const plan = await resolve().catch(async () => {
    await run(folder, 'apt-get', ['-qq', 'update']);
    return resolve();
  });
  const packages = [...plan.matchAll(/^Inst (\S+) \((\S+) /gm)].flatMap(([, name = '', version = '']) =>
    NOT_RUN.test(name) ? [] : [`${name}=${version}`],
  );
  if (packages.length === 0) throw new Error(`apt knows no package for ${wanted.join(' ')}`);
  await chmod(folder, 0o777); // apt downloads as a user of its own.
  await run(folder, 'apt-get', ['-qq', 'download', ...packages]);
}

async function unpack(
  file: string,
  { tree, distribution }: { readonly tree: string; readonly distribution: string },
): Promise<Component> {
  // Packages of older releases have /lib apart from /usr/lib; here it is a link, which tar has to follow.
  const archive = `${file}.tar`;
  await run(tree, 'sh', ['-c', 'dpkg-deb --fsys-tarfile "$1" > "$2"', 'sh', file, archive]);
  await run(tree, 'tar', ['-xf', archive, '--keep-directory-symlink', '--no-same-owner']);
  const control = await run(tree, 'dpkg-deb', ['-f', file]);
  const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(control)?.[1] ?? '';
  const [name, version] = [field('Package'), field('Version')];
  // Where scanners look for packages of images without a package manager.
  const known = join(tree, 'var/lib/dpkg/status.d');
  await mkdir(known, { recursive: true });
  await writeFile(join(known, name), control);
  const purl = `pkg:deb/${distribution}/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${field('Architecture')}`;
  return { type: 'library', name, version, purl, 'bom-ref': purl };
}

async function removeWhatIsNotRun(tree: string): Promise<void> {
  for (const entry of await readdir(join(tree, 'usr'), { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const isNoise = entry.isDirectory() && NOT_KEPT.includes(entry.name) && !path.includes('/python3');
    const isDocument = entry.isFile() && path.includes('/usr/share/doc/') && entry.name !== 'copyright';
    if (isNoise || isDocument) await rm(path, { recursive: true, force: true });
  }
}

/** Makes `python3 -m pip` work: pip from the archive that Debian has it in, with the CAs that Node brings. */
async function preparePython(tree: string): Promise<void> {
  const wheels = join(tree, 'usr/share/python-wheels');
  const names = (await readdir(wheels)).filter((name) => name.endsWith('.whl'));
  for (const name of names) if (!name.startsWith('pip-')) await rm(join(wheels, name));
  const pip = names.find((name) => name.startsWith('pip-'));
  if (pip === undefined) throw new Error('the package python3-pip-whl brought no pip');
  const version = (await readdir(join(tree, 'usr/lib'))).find((name) => /^python3\.\d+$/.test(name)) ?? '';
  const libraries = join(tree, 'usr/local/lib', version, 'dist-packages');
  await mkdir(libraries, { recursive: true });
  await writeFile(join(libraries, 'pip.pth'), `/usr/share/python-wheels/${pip}\n`);
  await mkdir(join(tree, 'etc/ssl/certs'), { recursive: true });
  await writeFile(join(tree, 'etc/ssl/certs/ca-certificates.crt'), `${rootCertificates.join('\n')}\n`);
}

async function addNode(root: string, tree: string): Promise<Component> {
  const folder = join(root, 'node_modules', `node-linux-${process.arch}`);
  const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string };
  await copyFile(join(folder, 'bin/node'), join(tree, 'usr/bin/node'));
  await chmod(join(tree, 'usr/bin/node'), 0o755);
  const purl = `pkg:npm/node-linux-${process.arch}@${version}`;
  return { type: 'application', name: 'node', version, purl, 'bom-ref': purl };
}

async function writeSettings(tree: string): Promise<void> {
  const etc = join(tree, 'etc');
  await mkdir(etc, { recursive: true });
  const users = ['root:x:0:0:root:/nonexistent:', 'nobody:x:65534:65534:nobody:/nonexistent:'];
  await writeFile(join(etc, 'passwd'), `${users.map((user) => `${user}/nonexistent\n`).join('')}`);
  await writeFile(join(etc, 'group'), 'root:x:0:\nnogroup:x:65534:\n');
  await writeFile(join(etc, 'nsswitch.conf'), 'hosts: files dns\n');
  await copyFile('/etc/os-release', join(etc, 'os-release'));
  await mkdir(join(tree, 'tmp'));
  await chmod(join(tree, 'tmp'), 0o1777);
}
