import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ToolUnavailable } from '../external-tools/ensure-tool.ts';
import { onceInFolder, toolsDir } from '../external-tools/tool-cache.ts';
import type { BuildOptions } from './build-options.ts';
import { NOT_FOR_STUBS, SERVICES } from './stub-sources.ts';

const run = promisify(execFile);

/** The pom beside the hand-written part has the runtimes that go with them. */
const PROTOC = { group: 'com.google.protobuf', artifact: 'protoc', version: '4.35.1' };
const GRPC_PLUGIN = { group: 'io.grpc', artifact: 'protoc-gen-grpc-java', version: '1.76.0' };
const FETCH_MS_MAX = 300_000;
/** As Maven Central names platforms. */
const PLATFORMS: Readonly<Record<string, string>> = { linux: 'linux', darwin: 'osx' };
const PROCESSORS: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch_64' };

/**
 * Generates Java stubs from the protos beside the client kit, as a Maven project: `mvn install` in it makes the jar.
 * @returns the project's folder
 */
export async function buildJavaProject({ root, out, env }: BuildOptions): Promise<string> {
  const programs = await generators(env);
  const folder = join(out, 'gatehouse-client-java');
  const sources = join(folder, 'src/main/java');
  await rm(folder, { recursive: true, force: true });
  await mkdir(sources, { recursive: true });
  const template = JSON.stringify({
    version: 'v2',
    managed: {
      enabled: true,
      override: [
        { file_option: 'java_package_prefix', value: 'dev' },
        { file_option: 'java_package', path: 'google/rpc', value: 'com.google.rpc' },
      ],
    },
    inputs: [
      {
        directory: root,
        paths: SERVICES.map((name) => join(root, `protos/gatehouse/${name}`)),
        exclude_types: NOT_FOR_STUBS,
      },
    ],
    plugins: [
      { protoc_builtin: 'java', protoc_path: join(programs, PROTOC.artifact), out: sources },
      { local: join(programs, GRPC_PLUGIN.artifact), out: sources },
    ],
  });
  await run(join(root, 'node_modules/.bin/buf'), ['generate', '--template', template], { cwd: root });
  await cp(join(root, 'libs/client/java'), folder, { recursive: true });
  const { version } = JSON.parse(await readFile(join(root, 'libs/client/package.json'), 'utf8')) as {
    readonly version: string;
  };
  const pom = await readFile(join(folder, 'pom.xml'), 'utf8');
  await writeFile(
    join(folder, 'pom.xml'),
    pom.replace(/ *<!-- That of .*\n/, '').replace('<version>0.0.0<', `<version>${version}<`),
  );
  const contract = JSON.parse(
    await readFile(join(root, 'libs/client/src/contract.json'), 'utf8'),
  ) as ContractFacts;
  await writeFile(join(sources, 'dev/gatehouse/ContractFacts.java'), contractFacts(contract));
  await cp(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  return folder;
}

type ContractFacts = { readonly version: string; readonly deadlines: Readonly<Record<string, number>> };

/** Java has no reader of JSON of its own. */
function contractFacts({ version, deadlines }: ContractFacts): string {
  const entries = Object.entries(deadlines).map(
    ([path, ms]) => `      Map.entry(${JSON.stringify(path.slice(1))}, ${ms}L)`,
  );
  return `package dev.gatehouse;

import java.util.Map;

/** Generated from the contract. */
final class ContractFacts {
  static final String VERSION = ${JSON.stringify(version)};
  static final Map<String, Long> DEADLINES = Map.ofEntries(
${entries.join(',\n')});

  private ContractFacts() {}
}
`;
}

/** protoc and its plugin from Maven Central, fetched by Maven the first time. */
async function generators(env: BuildOptions['env']): Promise<string> {
  const platform = `${PLATFORMS[process.platform] ?? process.platform}-${PROCESSORS[process.arch] ?? process.arch}`;
  const name = `java-generators-${PROTOC.version}-${GRPC_PLUGIN.version}-${platform}`;
  return onceInFolder(toolsDir(env), name, async (folder) => {
    for (const { group, artifact, version } of [PROTOC, GRPC_PLUGIN]) {
      const coordinates = `${group}:${artifact}:${version}:exe:${platform}`;
      const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy';
      const args = [
        '-B',
        '-q',
        goal,
        `-Dartifact=${coordinates}`,
        `-DoutputDirectory=${folder}`,
        '-Dmdep.stripVersion',
        '-Dmdep.stripClassifier',
      ];
      try {
        await run('mvn', args, { env: { ...env }, timeout: FETCH_MS_MAX });
      } catch (error) {
        const why =
          (error as NodeJS.ErrnoException).code === 'ENOENT'
            ? 'mvn is not on the PATH; install Maven and a JDK 17'
            : `Maven cannot fetch ${coordinates}`;
        throw new ToolUnavailable(`Java stubs cannot be generated: ${why}.`);
      }
      await cp(join(folder, `${artifact}.exe`), join(folder, artifact));
      await rm(join(folder, `${artifact}.exe`));
      await chmod(join(folder, artifact), 0o755);
    }
  });
}
