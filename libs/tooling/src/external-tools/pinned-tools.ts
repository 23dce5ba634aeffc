import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Go commands of one module, pinned by a go.mod and go.sum of our own beside this file. */
export type GoTool = {
  readonly kind: 'go';
  readonly name: string;
  /** The folder with go.mod and go.sum. */
  readonly module: string;
  /** Name of the built file by the package of its command. */
  readonly commands: Readonly<Record<string, string>>;
  readonly buildTakes: string;
  /** Needs a C compiler. Default: false. */
  readonly cgo?: boolean;
  /** The module that is built within a copy of its own source, by its own go.mod: one with `replace` lines builds so alone. */
  readonly inItself?: string;
  /** With `inItself`: a folder of ours whose files are laid over the copy. */
  readonly overlay?: string;
  /** With `inItself`: lines of the copy that are left out, because what they name is never used here and takes long to build. */
  readonly leftOut?: readonly {
    readonly files: readonly string[];
    /** A regular expression. Each file must have such a line. */
    readonly lines: string;
  }[];
  /** Strings of the program that are set when it is linked, by package and name. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Changes to one source file of a module, made in a copy before it is built. */
  readonly edit?: {
    readonly module: string;
    readonly file: string;
    /** Each text must be there. */
    readonly replacements: readonly (readonly [from: string, to: string])[];
  };
};

/** A Python package, pinned by version, unpacked into a folder for PYTHONPATH. */
export type PythonTool = {
  readonly kind: 'python';
  readonly name: string;
  readonly requirement: string;
};

export type PinnedTool = GoTool | PythonTool;

const module = (name: string): string => fileURLToPath(new URL(`go/${name}`, import.meta.url));

const overlay = (name: string): string => join(module(name), 'overlay');

/** Plugins of SPIRE by their packages; what stays keeps keys in memory or files, and attests by token, certificate or process. */
const SPIRE_LEFT_OUT =
  'awsiid|awskms|awspca|awsrolesanywhere|awss3|awssecret|awssecretsmanager|azurekeyvault|azuremsi|certmanager|docker|ejbca|gcpcas|gcpcloudstorage|gcpiit|gcpkms|gcpsecretmanager|gcsbundle|httpchallenge|k8s|k8sbundle|k8sconfigmap|k8spsat|sshpop|systemd|tpmdevid|vault|windows';

/** The programs of others that tests hold the sidecar against. Nothing of them is shipped. */
export const PINNED_TOOLS: readonly PinnedTool[] = [
  {
    kind: 'go',
    name: 'h2spec',
    // The newest version that Go's module proxy has: later tags lack the major version in their module path.
    module: module('h2spec'),
    commands: { 'github.com/summerwind/h2spec/cmd/h2spec': 'h2spec' },
    buildTakes: 'about 20 s',
  },
  {
    kind: 'go',
    // The same, whose every request is the head of a gRPC call: what a listener for gRPC passes on and answers.
    name: 'h2spec-grpc',
    module: module('h2spec'),
    commands: { 'github.com/summerwind/h2spec/cmd/h2spec': 'h2spec' },
    buildTakes: 'about 20 s',
    edit: {
      module: 'github.com/summerwind/h2spec',
      file: 'spec/util.go',
      replacements: [
        ['HeaderField(":method", "GET"),', 'HeaderField(":method", "POST"),'],
        [
          'HeaderField(":authority", authority),',
          'HeaderField(":authority", authority), HeaderField("content-type", "application/grpc"), HeaderField("te", "trailers"),',
        ],
      ],
    },
  },
  {
    kind: 'go',
    name: 'actionlint',
    module: module('actionlint'),
    commands: { 'github.com/rhysd/actionlint/cmd/actionlint': 'actionlint' },
    buildTakes: 'about 10 s',
  },
  {
    kind: 'go',
    name: 'grpc-interop',
    module: module('grpc-interop'),
    commands: {
      'google.golang.org/grpc/interop/client': 'client',
      'google.golang.org/grpc/interop/server': 'server',
    },
    buildTakes: 'two to four minutes',
  },
  {
    kind: 'go',
    // Its server's data store is SQLite, which is C. What talks to clouds, clusters and other databases is left out.
    name: 'spire',
    module: module('spire'),
    inItself: 'github.com/spiffe/spire',
    overlay: overlay('spire'),
    leftOut: [
      {
        files: [
          ...['bundlepublisher', 'keymanager', 'nodeattestor', 'notifier', 'upstreamauthority'].map(
            (kind) => `pkg/server/catalog/${kind}.go`,
          ),
          ...['nodeattestor', 'svidstore', 'workloadattestor'].map((kind) => `pkg/agent/catalog/${kind}.go`),
        ],
        lines: String.raw`/(${SPIRE_LEFT_OUT}|spire)"$|\b(${SPIRE_LEFT_OUT}|spireplugin)\.BuiltIn\(\)`,
      },
    ],
    commands: { './cmd/spire-server': 'spire-server', './cmd/spire-agent': 'spire-agent' },
    buildTakes: 'about two minutes of two processors, and 1 GB',
    cgo: true,
  },
  {
    kind: 'go',
    // Without the files of its user interface, which are made by other tools: the API is what tests read. It keeps spans in
    // memory. The collector is put together from modules that Jaeger pins as well.
    name: 'jaeger',
    module: module('jaeger'),
    inItself: 'github.com/jaegertracing/jaeger',
    overlay: overlay('jaeger'),
    leftOut: [
      {
        files: ['internal/storage/v1/factory/factory.go'],
        lines: String.raw`/storage/v1/(badger|cassandra|elasticsearch|grpc|kafka)"$|case (badger|cassandra|elasticsearch|grpc|kafka)Storage|return (badger|cassandra|es|grpc|kafka)\.New`,
      },
      {
        files: ['internal/storage/metricstore/factory.go'],
        lines: String.raw`/metricstore/prometheus"$|case prometheusStorage|return prometheus\.New`,
      },
    ],
    commands: { './cmd/all-in-one': 'all-in-one', './cmd/gatehouse-collector': 'collector' },
    buildTakes: 'two to three minutes of two processors, and 1 GB',
  },
  {
    kind: 'go',
    // Both of one module, whose versions go together.
    name: 'kubernetes',
    module: module('kubernetes'),
    commands: {
      'k8s.io/kubernetes/cmd/kube-apiserver': 'kube-apiserver',
      'go.etcd.io/etcd/server/v3': 'etcd',
    },
    // Charts ask the server for its version, which its own build sets.
    variables: {
      'k8s.io/component-base/version.gitVersion': 'v1.35.0',
      'k8s.io/component-base/version.gitMajor': '1',
      'k8s.io/component-base/version.gitMinor': '35',
    },
    buildTakes: 'up to six minutes of two processors, and 2.5 GB',
  },
  {
    kind: 'go',
    name: 'protoc-gen-go',
    module: module('protoc-gen-go'),
    commands: {
      'google.golang.org/protobuf/cmd/protoc-gen-go': 'protoc-gen-go',
      'google.golang.org/grpc/cmd/protoc-gen-go-grpc': 'protoc-gen-go-grpc',
    },
    buildTakes: 'about 20 s',
  },
  { kind: 'python', name: 'python-hpack', requirement: 'hpack==4.2.0' },
];
